"""`heliograph up` as a process of its own, started, broken and stopped by the oracle."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLL_S = 0.05


def free_port() -> int:
    """A port that is free now, below those that the kernel gives to whoever asks for any."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(what: str, holds: Callable[[], bool], deadline_s: float) -> None:
    """Poll until it holds; raises AssertionError that says what did not."""
    end = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(POLL_S)


@dataclass(slots=True)
class Platform:
    """One data directory and, while it runs, the supervisor over it. Ports stay the same over restarts."""

    data_dir: Path
    follow: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    http_port: int = field(default_factory=free_port)
    otlp_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start `up`; returns at once."""
        command = [sys.executable, "-m", "ops", "up", "--no-browser", "--data-dir", str(self.data_dir)]
        command += ["--port", str(self.http_port), "--otlp-port", str(self.otlp_port), *self.arguments]
        for glob in self.follow:
            command += ["--follow", glob]
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "up.out").open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def stop(self, deadline_s: float = 30.0) -> int:
        """Ctrl-C; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(deadline_s)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL the supervisor and whatever it left running."""
        if self.process is None:
            return
        pids = list(self.pids().values())
        self.process.kill()
        self.process.wait()
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self.process = None

    def endpoints(self) -> dict[str, Any]:
        """endpoints.json, or an empty dict while there is none."""
        try:
            document = json.loads((self.data_dir / "endpoints.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        assert isinstance(document, dict)
        return document

    def pids(self) -> dict[str, int]:
        """The pid of each role that runs."""
        return {name: role["pid"] for name, role in self.endpoints().get("roles", {}).items() if role.get("pid")}

    def signal_role(self, role: str, kind: signal.Signals) -> None:
        """Send a role a signal, if it runs just now."""
        pid = self.pids().get(role)
        if pid is not None:
            _signal(pid, kind)

    @property
    def otlp_url(self) -> str:
        return f"http://127.0.0.1:{self.otlp_port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def get(self, path: str, timeout_s: float = 10.0) -> Any:
        """An answer of the query service, with the token; raises OSError while it is away."""
        token = (self.data_dir / "token").read_text().strip()
        request = urllib.request.Request(self.http_url + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.loads(answer.read())

    def answers_at_last(self) -> bool:
        """The same as `answers`, but an `up` that ended because an engine was away is started again, as a process manager would."""
        if self.process is not None and self.process.poll() == os.EX_UNAVAILABLE:
            self.start()
        return self.answers()

    def answers(self, path: str = "/readyz") -> bool:
        """Whether the query service answers 200."""
        try:
            self.get(path)
        except (OSError, json.JSONDecodeError, urllib.error.HTTPError):
            return False
        return True


def _signal(pid: int, kind: signal.Signals) -> None:
    try:
        os.kill(pid, kind)
    except ProcessLookupError:
        return
