"""`heliograph up` whole: real roles, real ports, one URL, and a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ops.data_dir import read_json
from ops.role_names import UP_ROLES
from tests.ops.supervising import is_running, wait_until


class Up:
    def __init__(self, root: Path, *arguments: str) -> None:
        self.root = root
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HELIOGRAPH_", "OTEL_"))}
        command = [sys.executable, "-m", "ops", "up", "--data-dir", str(root), "--port", "0", "--otlp-port", "0"]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    @property
    def endpoints(self) -> dict[str, Any]:
        return read_json(self.root / "endpoints.json")

    def get(self, path: str, **parameters: str) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        request = urllib.request.Request(self.endpoints["http"] + path + query)
        request.add_header("Authorization", f"Bearer {(self.root / 'token').read_text()}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def pids(self) -> list[int]:
        return [role["pid"] for role in self.endpoints["roles"].values() if role["pid"]]

    def end(self) -> tuple[str, str]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("followed") / "app.log"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, followed: Path) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("data"), "--no-browser", "--demo", "--follow", str(followed.parent / "*.log"))
    assert running.url, running.process.communicate(timeout=30)[1]
    yield running
    running.end()


def test_one_line_with_a_code_is_printed(up: Up) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?code=[\w-]{20,}", up.url)


def test_every_role_has_a_process_of_its_own(up: Up) -> None:
    assert set(up.endpoints["roles"]) == {*UP_ROLES, "demo"}
    assert len(set(up.pids())) == len(UP_ROLES) + 1
    assert up.endpoints["otlp_http"].startswith("http://127.0.0.1:")


def test_nobody_is_answered_without_the_token(up: Up) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(up.endpoints["http"] + "/api/logs", timeout=10)
    assert refused.value.code == 401
    refused.value.close()


def test_the_code_opens_the_page_once(up: Up) -> None:
    with urllib.request.urlopen(up.url, timeout=10) as answer:
        assert "HttpOnly" in answer.headers["Set-Cookie"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(up.url, timeout=10)
    assert refused.value.code == 401
    refused.value.close()


def test_a_new_link_can_be_had(up: Up) -> None:
    command = [sys.executable, "-m", "ops", "login", "--data-dir", str(up.root)]
    link = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    with urllib.request.urlopen(link, timeout=10) as answer:
        assert "HttpOnly" in answer.headers["Set-Cookie"]


def test_a_line_of_a_followed_file_is_found(up: Up, followed: Path) -> None:
    followed.write_text("the heliograph flashes ERROR\n")
    wait_until(lambda: up.get("/api/logs", q="flashes")["total"] == 1, "the line")


def test_metrics_of_this_machine_and_the_demos_traces_arrive(up: Up) -> None:
    def has_load() -> bool:
        return bool(up.get("/prometheus/api/v1/query", query="node_load1")["data"]["result"])

    wait_until(has_load, "node_load1")
    wait_until(lambda: "demo-shop" in up.get("/jaeger/api/services")["data"], "the demo's spans")


def test_the_flow_is_told(up: Up) -> None:
    wait_until(lambda: up.get("/api/flow")["stores"]["search"]["items"] > 0, "items in the document store")
    assert all(store["ready"] for store in up.get("/api/flow")["stores"].values())


def test_a_role_that_is_killed_or_stopped_comes_back(up: Up) -> None:
    killed, stopped = (up.endpoints["roles"][role]["pid"] for role in ("router-search", "agent"))
    os.kill(killed, signal.SIGKILL)
    os.kill(stopped, signal.SIGSTOP)

    def are_back() -> bool:
        roles = up.endpoints["roles"]
        return all(roles[r]["restarts"] == 1 and roles[r]["health"] for r in ("router-search", "agent"))

    wait_until(are_back, "the restarts")
    assert not is_running(stopped)


def test_a_second_up_is_refused_in_a_sentence(up: Up) -> None:
    command = [sys.executable, "-m", "ops", "up", "--data-dir", str(up.root), "--port", "0", "--otlp-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 69
    assert done.stderr == (
        f"heliograph: {up.root} is in use by process {up.process.pid}: "
        "stop it with Ctrl-C, or choose another directory with --data-dir\n"
    )


def test_it_ends_cleanly(up: Up) -> None:
    pids = up.pids()
    stdout, stderr = up.end()
    assert (up.process.returncode, stdout) == (0, "")
    assert "Traceback" not in stderr
    assert not any(map(is_running, pids))
    assert not (up.root / "endpoints.json").exists()
    token = (up.root / "token").read_text()
    assert not any(token in log.read_text() for log in (up.root / "logs").iterdir())


def test_a_rule_file_with_a_mistake_ends_up_with_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]\n")
    (tmp_path / "h.yaml").write_text(f"rules: {{files: [{tmp_path / 'rules.yaml'}]}}\n")
    running = Up(tmp_path / "data", "--config", str(tmp_path / "h.yaml"))
    _, stderr = running.end()
    assert running.process.returncode == 78
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith(f"heliograph: rules: {tmp_path / 'rules.yaml'}")


def test_a_damaged_bus_ends_up_with_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus" / "bus.db").write_bytes(b"no database " * 1000)
    running = Up(tmp_path)
    _, stderr = running.end()
    assert running.process.returncode == 69
    assert "Traceback" not in stderr
    assert re.match(r"heliograph: agent: .*bus\.db is damaged or not ours .* start again", stderr.splitlines()[-1])


def test_a_role_runs_alone_without_a_supervisor(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ops", "role", "rules", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as role:
        wait_until(lambda: read_json(tmp_path / "run" / "rules.json"), "the role's report")
        role.send_signal(signal.SIGTERM)
        _, stderr = role.communicate(timeout=30)
    assert role.returncode == 0
    assert json.loads(stderr.splitlines()[-1])["msg"] == "stopped"
