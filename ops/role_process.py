"""One process of a role, as the supervisor holds it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from ops import role_log
from ops.data_dir import read_json

PROBE_TIMEOUT_S: Final = 1.0
SETTINGS_BYTES_MAX: Final = 60_000
"""They go into a pipe, which holds 64 KiB without anybody reading."""
_ANSWER_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What a role says of its process in D/run/<role>.json."""

    health: str = ""
    """URL of its health server."""
    endpoints: tuple[tuple[str, str], ...] = ()
    """What it serves, by name (`http`, `otlp_http`)."""
    error: str = ""
    """Why it gave up, for the user."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What /healthz and /readyz answered."""

    is_alive: bool
    is_ready: bool = False
    reasons: tuple[tuple[str, str], ...] = ()


class RoleProcess:
    """A started process. Its standard input is a pipe: first the settings, then nothing, then its end when we are gone."""

    def __init__(self, role: str, command: Sequence[str], data_dir: Path, settings: bytes) -> None:
        """Raises OSError when it cannot be started."""
        self.role = role
        self._run_file = data_dir / "run" / f"{role}.json"
        self._run_file.unlink(missing_ok=True)
        log = role_log.open_for_append(role_log.path_of(data_dir, role))
        try:
            # Its own process group, so that a terminal's Ctrl-C reaches only us and the order of stopping is ours.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0, bufsize=0
            )
        finally:
            os.close(log)
        self._cpu_s = 0.0
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(settings + b"\n")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it is there; negative after a signal."""
        code = self._process.poll()
        if code is not None and self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def has_worked(self) -> bool:
        """Whether it has used CPU since the last time this was asked."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return False
        before, self._cpu_s = self._cpu_s, times.user + times.system
        return self._cpu_s > before

    def terminate(self) -> None:
        """Ask it to drain and end; a stopped process is woken for that."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    def report(self) -> Report:
        """What it says of itself; empty until it has said it."""
        said = read_json(self._run_file)
        if said.get("pid") != self.pid:
            return Report()
        endpoints = said.get("endpoints")
        pairs = endpoints.items() if isinstance(endpoints, dict) else ()
        return Report(
            str(said.get("health", "")), tuple((str(k), str(v)) for k, v in pairs), str(said.get("error") or "")
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)


def probe(health_url: str, timeout_s: float = PROBE_TIMEOUT_S) -> Probe:
    """Ask a role how it is; never raises."""
    parts = urlsplit(health_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    try:
        if _get(connection, "/healthz")[0] != http.HTTPStatus.OK:
            return Probe(is_alive=False)
        status, body = _get(connection, "/readyz")
        reasons = json.loads(body).get("reasons", {})
        return Probe(True, status == http.HTTPStatus.OK, tuple((str(k), str(v)) for k, v in reasons.items()))
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return Probe(is_alive=False)
    finally:
        connection.close()


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read(_ANSWER_BYTES_MAX)
