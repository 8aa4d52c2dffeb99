"""A server's process: started on free ports, waited for, ended with the test run."""

from __future__ import annotations

import atexit
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

READY_S_MAX = 90.0


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """A running server; SIGKILL at the end of the run, since nothing of it is kept."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        is_ready: Callable[[str], bool],
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`is_ready` is given the log so far. Fails the test when the server ends or is not ready in time."""
        self._command = command
        self._folder = folder
        self._is_ready = is_ready
        self._env = env
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes]
        atexit.register(self.kill)
        self.start()

    def start(self) -> None:
        """Start, or start again after kill(); returns when it is ready."""
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._env
            )
        deadline = time.monotonic() + READY_S_MAX
        while not self._is_ready(self._said()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"{self._command[0]} did not get ready: {self._said()[-2000:]}", pytrace=False)
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        self.process.kill()
        self.process.wait(30)

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")
