"""A server's process: started on free ports, waited for, ended with the test run, however that ends."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

READY_S_MAX = 90.0
# The server is this very process, and a child of it waits for a line from the tests: when the pipe ends without one, they are dead.
# A server that is gone is left alone, since its number may be another's by now.
_WATCHED = """
exec 3<&0 </dev/null
(read -r _ <&3 || { read -r _ _ _ parent _ </proc/self/stat; [ "$parent" != $$ ] || kill -9 $$; }) >/dev/null 2>&1 &
exec "$@" 3<&-
"""


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
    """A running server; SIGKILL at the end of the run, since nothing of it is kept. It does not outlive a run that is killed itself."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        is_ready: Callable[[str], bool],
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`is_ready` is given the log so far; `folder` is removed at the end. Fails the test when it ends or is not ready in time."""
        self._command = command
        self._folder = folder
        self._is_ready = is_ready
        self._env = env
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes]
        atexit.register(self._remove)
        self.start()

    def start(self) -> None:
        """Start, or start again after kill(); returns when it is ready."""
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "sh", *self._command],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env=self._env,
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
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(b"\n")
                self.process.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def _remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")
