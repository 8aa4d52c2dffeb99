"""Processes that hang, are killed, or are to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.e2e import inputs
from tests.e2e.running import ROLES, await_ready, readyz, running, send, total
from tests.oracle.platform_under_test import Platform, wait_for

GROUPS = (ROLES[:3], ROLES[3:])
RESTARTED_S = 15.0
ENDED_S = 20.0
SETTLE_S = 30.0


def is_there(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(Platform(tmp_path_factory.mktemp("roles") / "data")) as platform:
        yield platform


def works(up: Platform, service: str) -> None:
    assert send(up, inputs.logs(service, ["it works"]))[0] == 200
    wait_for("the record", lambda: total(up, service=service) == 1, SETTLE_S)


def test_every_role_that_hangs_is_started_again(up: Platform) -> None:
    for group in GROUPS:
        before = {role: up.pids()[role] for role in group}
        for role in group:
            up.signal_role(role, signal.SIGSTOP)
        for role, pid in before.items():
            wait_for(f"{role} is another process", lambda: up.pids().get(role, pid) != pid, RESTARTED_S)  # noqa: B023
            wait_for(f"{role} is ready", lambda: readyz(up, role) == {}, RESTARTED_S)  # noqa: B023
            assert not is_there(pid)
    works(up, "hung")


def test_roles_end_by_themselves_when_the_supervisor_is_killed_and_the_next_one_starts(up: Platform) -> None:
    pids = list(up.pids().values())
    assert len(pids) == len(ROLES)
    assert up.process is not None
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait()
    wait_for("every role ends", lambda: not any(map(is_there, pids)), ENDED_S)
    up.start()
    wait_for("others run", lambda: len(up.pids()) == len(ROLES) and not set(pids) & set(up.pids().values()), SETTLE_S)
    await_ready(up)
    works(up, "again")


def test_ctrl_c_ends_all_of_it(up: Platform) -> None:
    pids = list(up.pids().values())
    assert len(pids) == len(ROLES)
    assert up.stop() == 0
    assert not any(map(is_there, pids))
    assert not (up.data_dir / "endpoints.json").exists()
