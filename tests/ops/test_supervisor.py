"""The supervisor with real processes: deaths, hangs, stops, and what it tells others."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ops import data_dir as directory
from ops import role_log
from ops.errors import AlreadyRunningError, PortInUseError, RoleFailedError
from tests.ops.supervising import Supervised, command, is_running, wait_until


def test_all_roles_become_ready_and_are_told_to_others(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("agent", "query")) as up:
        up.wait_ready()
        wait_until(lambda: "otlp_http" in up.endpoints(), "the agent's report")
        endpoints = up.endpoints()
        assert endpoints["http"] == "http://127.0.0.1:4354"
        assert endpoints["otlp_http"] == "http://127.0.0.1:4318"
        assert up.pid("agent") != up.pid("query")
        assert stat.S_IMODE((tmp_path / "endpoints.json").stat().st_mode) == 0o600
        assert up.supervisor.not_ready() == {}
        up.stop()
    assert up.error is None
    assert not (tmp_path / "endpoints.json").exists()


def test_a_killed_role_is_started_again_and_the_others_are_not_touched(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("agent", "query")) as up:
        up.wait_ready()
        agent, query = up.pid("agent"), up.pid("query")
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: up.has("exited", "agent"), "the notice of the death")
        wait_until(lambda: up.pid("agent") not in (0, agent) and up.supervisor.are_all_ready, "the restart")
        assert up.pid("query") == query
        up.stop()


def test_a_stopped_role_is_found_killed_and_started_again(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("agent",)) as up:
        up.wait_ready()
        agent = up.pid("agent")
        os.kill(agent, signal.SIGSTOP)
        wait_until(lambda: up.has("hung", "agent"), "the notice of the hang")
        wait_until(lambda: up.pid("agent") not in (0, agent) and up.supervisor.are_all_ready, "the restart")
        assert not is_running(agent)
        up.stop()


def test_roles_that_write_end_before_those_that_read(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("query", "router-tsdb", "agent")) as up:
        up.wait_ready()
        up.stop()
    assert (tmp_path / "ended").read_text().split() == ["agent", "router-tsdb", "query"]


def test_a_role_that_was_stopped_still_ends_cleanly(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("agent",)) as up:
        up.wait_ready()
        os.kill(up.pid("agent"), signal.SIGSTOP)
        up.stop()
    assert (tmp_path / "ended").read_text() == "agent\n"


def test_at_once_means_without_draining(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("deaf",)) as up:
        up.wait_ready()
        pid = up.pid("deaf")
        up.kill_all()
    assert not is_running(pid)
    assert not (tmp_path / "ended").exists()


def test_a_role_that_dies_again_and_again_waits_longer_each_time(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("crashing",)) as up:
        wait_until(lambda: sum(kind == "exited" for kind, _, _ in up.events) >= 3, "three deaths")
        waits = [detail for kind, _, detail in up.events if kind == "exited"][:3]
        up.stop()
    assert waits == ["exit code 3; again in 0.2 s", "exit code 3; again in 0.4 s", "exit code 3; again in 0.8 s"]


@pytest.mark.parametrize(
    ("role", "exit_code", "sentence"),
    [
        ("misconfigured", 78, "misconfigured: rules.yaml:3: expr: no closing bracket"),
        ("unlucky", 69, f"unlucky: {PortInUseError('127.0.0.1', 4318, '--otlp-port')}"),
    ],
)
def test_what_a_restart_cannot_mend_ends_everything_with_its_sentence(
    tmp_path: Path, role: str, exit_code: int, sentence: str
) -> None:
    with Supervised(tmp_path, ("query", role)) as up:
        wait_until(lambda: up.error is not None, "the failure")
        up.join()
    assert isinstance(up.error, RoleFailedError)
    assert (up.error.exit_code, str(up.error)) == (exit_code, sentence)


def test_a_role_that_is_not_ready_says_why(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("waiting",)) as up:
        wait_until(lambda: up.supervisor.not_ready() == {"waiting": "store: never comes"}, "the reason")
        up.stop()


def test_roles_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.ops.supervising import Supervised
up = Supervised(Path({str(tmp_path)!r}), ("agent", "query")).__enter__()
up.wait_ready()
print(up.pid("agent"), up.pid("query"), flush=True)
up.join()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        assert len(pids) == 2
        supervisor.kill()
    wait_until(lambda: not any(map(is_running, pids)), "the end of the roles")


def test_a_role_left_behind_by_an_earlier_supervisor_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([*command(tmp_path)("agent")], stdin=subprocess.PIPE) as left_behind:
        os.kill(left_behind.pid, signal.SIGSTOP)
        with Supervised(tmp_path, ("agent",)) as up:
            up.wait_ready()
            assert not is_running(left_behind.pid)
            up.stop()


def test_what_a_role_writes_to_stderr_is_in_its_log(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("misconfigured",)) as up:
        wait_until(lambda: up.error is not None, "the failure")
        up.join()
    assert "no closing bracket" in "\n".join(role_log.last_lines(role_log.path_of(tmp_path, "misconfigured"), 5))


def test_a_second_up_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with (
        directory.held(tmp_path),
        pytest.raises(AlreadyRunningError, match=f"in use by process {os.getpid()}"),
        directory.held(tmp_path),
    ):
        pytest.fail("both hold it")
    with directory.held(tmp_path):
        pass


def test_a_role_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    with Supervised(tmp_path, ("agent",)) as up:
        up.wait_ready()
        log = role_log.path_of(tmp_path, "agent")
        log.unlink()
        log.mkdir()
        os.kill(up.pid("agent"), signal.SIGKILL)
        wait_until(lambda: up.has("not started", "agent"), "the failure")
        log.rmdir()
        wait_until(lambda: up.supervisor.are_all_ready, "the restart")
        up.stop()
    assert up.error is None
