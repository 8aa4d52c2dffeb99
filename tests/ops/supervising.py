"""A supervisor over stand-in roles, run in a thread."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ops import data_dir as directory
from ops.lifecycle import RestartPolicy
from ops.settings import Settings, revealed
from ops.supervisor import EventKind, Supervisor

STAND_IN = Path(__file__).with_name("stand_in.py")
DEADLINE_S = 40.0


def command(root: Path) -> Callable[[str], Sequence[str]]:
    return lambda role: [sys.executable, str(STAND_IN), str(root), role]


def wait_until(condition: Callable[[], object], what: str = "the condition") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.02)


@dataclass
class Supervised:
    root: Path
    roles: tuple[str, ...]
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    events: list[tuple[EventKind, str, str]] = field(default_factory=list)
    error: BaseException | None = None

    def __enter__(self) -> Supervised:
        directory.prepare(self.root)
        self._stop, self._at_once = threading.Event(), threading.Event()
        self.supervisor = Supervisor(
            self.roles,
            command(self.root),
            self.root,
            json.dumps(revealed(Settings())).encode(),
            {"http": "http://127.0.0.1:4354"},
            time.monotonic,
            lambda kind, role, detail: self.events.append((kind, role, detail)),
            essential=("unlucky",),
            policy=self.policy,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.supervisor.run(self._stop, self._at_once)
        except BaseException as error:
            self.error = error

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.kill_all()

    def wait_ready(self) -> None:
        wait_until(lambda: self.supervisor.are_all_ready, "readiness of all")

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def kill_all(self) -> None:
        self._at_once.set()
        self.stop()

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def endpoints(self) -> dict[str, object]:
        return directory.read_json(self.root / "endpoints.json")

    def pid(self, role: str) -> int:
        roles = self.endpoints()["roles"]
        assert isinstance(roles, dict)
        return int(roles[role]["pid"] or 0)

    def has(self, kind: EventKind, role: str) -> bool:
        return any(event[:2] == (kind, role) for event in self.events)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
