"""`heliograph up`: everything on one machine, from settings to the one line with the URL."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console

from ops import data_dir as directory
from ops.browser import open_page
from ops.default_follow import own_logs, system_logs
from ops.errors import UnavailableError
from ops.login_codes import LoginCodes
from ops.ports import Wanted, choose, url_of
from ops.progress import Progress
from ops.role_names import DEMO_ROLE, ESSENTIAL_ROLES, UP_ROLES
from ops.settings import FollowSettings, Settings, revealed
from ops.settings_load import load
from ops.signals import on_signals
from ops.startup_trace import StartupTrace, send
from ops.supervisor import EventKind, Supervisor

PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Flags:
    """What was said on the command line."""

    data_dir: Path | None
    port: int | None
    otlp_port: int | None
    follow: tuple[str, ...]
    config: Path | None
    demo: bool
    browser: bool


def run_up(flags: Flags) -> int:
    """Run until told to stop; the exit code. Raises OpsError."""
    settings = settings_of(flags, os.environ)
    root = settings.data_dir
    directory.prepare(root)
    with directory.held(root):
        settings = with_ports(settings)
        directory.token(root)
        return _Up(settings, flags.browser).run()


def settings_of(flags: Flags, environment: os._Environ[str] | dict[str, str]) -> Settings:
    """The settings with the flags in them and an absolute data directory. Raises ConfigError."""
    said: dict[str, str | int | float | bool | None] = {
        "data_dir": str(flags.data_dir) if flags.data_dir else None,
        "http.port": flags.port,
        "otlp.port": flags.otlp_port,
        "demo": True if flags.demo else None,
    }
    settings = load(flags.config, environment, {key: value for key, value in said.items() if value is not None})
    root = settings.data_dir.resolve()
    asked = (*settings.agent.follow, *(FollowSettings(path=str(Path(glob).absolute())) for glob in flags.follow))
    followed = (*(asked or system_logs()), *own_logs(root, UP_ROLES))
    agent = settings.agent.model_copy(update={"follow": followed})
    return settings.model_copy(update={"data_dir": root, "agent": agent})


def with_ports(settings: Settings) -> Settings:
    """The settings with ports that are free now. Raises PortInUseError."""
    http, otlp = settings.http, settings.otlp
    http_port, otlp_port = choose([Wanted(http.host, http.port, "--port"), Wanted(otlp.host, otlp.port, "--otlp-port")])
    return settings.model_copy(
        update={
            "http": http.model_copy(update={"port": http_port}),
            "otlp": otlp.model_copy(update={"port": otlp_port}),
        }
    )


def role_command(role: str, root: Path) -> Sequence[str]:
    """The command of a supervised role."""
    return [sys.executable, "-m", "ops", "role", role, "--supervised", "--data-dir", str(root)]


def login_url(data_dir: Path | None) -> str:
    """A new link to the page of a running `up`, or of a query service that runs by itself on the directory. Raises UnavailableError."""
    root = (data_dir or Path(os.environ.get("HELIOGRAPH_DATA_DIR") or "heliograph-data")).resolve()
    cards = [directory.read_json(card) for card in sorted((root / "run").glob("query*.json"))]
    alive = [card.get("endpoints", {}) for card in cards if psutil.pid_exists(int(card.get("pid", 0)))]
    found = [directory.read_json(root / "endpoints.json"), *alive]
    url = next((each["http"] for each in found if isinstance(each.get("http"), str)), None)
    if url is None:
        raise UnavailableError(f"nothing runs on {root}: start it with `heliograph up --data-dir {root}`")
    return f"{url}/?code={LoginCodes(root, time.time).mint()}"


class _Up:
    def __init__(self, settings: Settings, browser: bool) -> None:
        self._settings = settings
        self._root = settings.data_dir
        self._browser = browser
        self._roles = (*UP_ROLES, DEMO_ROLE) if settings.demo else UP_ROLES
        self._progress = Progress(Console(stderr=True, highlight=False), self._roles)
        self._begun_s = time.monotonic()
        self._trace = StartupTrace(time.time_ns())
        self._is_announced = False
        self._is_late = False
        self._supervisor = Supervisor(
            self._roles,
            lambda role: role_command(role, self._root),
            self._root,
            json.dumps(revealed(settings)).encode(),
            {
                "http": url_of(settings.http.host, settings.http.port),
                "otlp_http": url_of(settings.otlp.host, settings.otlp.port),
            },
            time.monotonic,
            self._on_event,
            ESSENTIAL_ROLES,
        )

    def run(self) -> int:
        stop, at_once = threading.Event(), threading.Event()
        last_signal: list[int] = []

        def told(number: int) -> None:
            if stop.is_set():
                at_once.set()
            last_signal.append(number)
            stop.set()

        on_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), told)
        self._progress.say(f"data directory {self._root}")
        try:
            self._supervisor.run(stop, at_once, self._announce)
        finally:
            self._progress.close()
        return 128 + last_signal[-1] if at_once.is_set() else 0

    def _on_event(self, kind: EventKind, role: str, detail: str) -> None:
        self._trace.event(kind, role, time.time_ns())
        self._progress.event(kind, role, detail)

    def _send_trace(self) -> None:
        messages = self._trace.messages(time.time_ns(), {"host.name": socket.gethostname()})
        endpoint = url_of(self._settings.otlp.host, self._settings.otlp.port)
        why_not = send(messages, endpoint, directory.token(self._root))
        if why_not:
            self._progress.say(f"the start's own trace was not taken: {why_not}")

    def _announce(self) -> None:
        if self._is_announced:
            return
        waited_s = time.monotonic() - self._begun_s
        if self._supervisor.are_all_ready:
            self._is_announced = True
            self._progress.up()
            self._progress.say(
                f"ready in {waited_s:.1f} s; OTLP at {url_of(self._settings.otlp.host, self._settings.otlp.port)}"
            )
            url = login_url(self._root)
            print(url, flush=True)
            threading.Thread(target=self._send_trace, name="startup-trace", daemon=True).start()
            if self._browser:
                open_page(url)
        elif waited_s > PATIENCE_S and not self._is_late:
            self._is_late = True
            late = "; ".join(f"{role} ({why})" for role, why in self._supervisor.not_ready().items())
            self._progress.say(f"still waiting for {late}; logs are in {self._root / 'logs'}")
