"""The process of one role: its signals, its health server, its end when the supervisor is gone."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from ops import logs
from ops.data_dir import token, write_json
from ops.errors import ConfigError, Problem
from ops.explain import explain, is_debugging
from ops.health import Health, HealthServer
from ops.instance import Instance, claim_free, claim_supervised
from ops.role_context import RoleContext, RunRole
from ops.role_process import SETTINGS_BYTES_MAX
from ops.settings import HealthSettings, Settings
from ops.signals import on_signals

DRAIN_MAX_S: Final = 12.0
"""After that the process ends whatever it does: nothing acknowledged depends on a clean end."""


def run_supervised(name: str, run: RunRole, data_dir: Path, standard_input: BinaryIO) -> int:
    """Run with the settings that the supervisor sends first; the end of its pipe is our order to stop."""
    line = standard_input.readline(SETTINGS_BYTES_MAX + 2)
    settings = Settings.model_validate(json.loads(line)) if line.strip() else None
    if settings is None:
        raise ConfigError([Problem("", "", "no settings came from the supervisor")])
    stop = threading.Event()

    def watch() -> None:
        while standard_input.read(4096):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
    # What is asked from outside comes to a free port, because the roles of one machine cannot share one.
    below_up = settings.model_copy(update={"health": HealthSettings()})
    return run_role(name, run, below_up, data_dir, stop, claim_supervised)


def run_role(
    name: str,
    run: RunRole,
    settings: Settings,
    data_dir: Path,
    stop: threading.Event,
    claim: Callable[[Path, str], Instance] = claim_free,
) -> int:
    """Run until SIGTERM, SIGINT or `stop`; returns the exit code. An error becomes a log line and a sentence in D/run.

    Raises OpsError when it cannot even begin.
    """
    log = logs.configure(name, settings.log.level, settings.log.format)
    instance = claim(data_dir, name)
    health = Health()
    secret = settings.http.token.get_secret_value() if settings.http.token else token(data_dir)
    server = HealthServer(health, secret, settings.health.host, settings.health.port)
    card = _Card(data_dir / "run" / f"{instance.name}.json", server.url)
    on_signals((signal.SIGTERM, signal.SIGINT), lambda _: stop.set())
    threading.Thread(target=_end_in_time, args=(stop,), name="deadline", daemon=True).start()
    context = RoleContext(
        name, instance, data_dir, stop, health.beat, health.set_ready, health.set_notes, card.serves, health.registry, log,
    )  # fmt: skip
    try:
        card.write()
        exit_code = run(settings, context)
    except Exception as error:
        sentence, exit_code = explain(error)
        log.error(sentence, exc_info=is_debugging() or sentence.startswith("an error of ours"))
        card.failed(sentence)
    else:
        log.info("stopped", exit_code=exit_code)
    return exit_code


def end(exit_code: int) -> NoReturn:
    """Leave without waiting for threads that are stuck."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


class _Card:
    """What others read of this process: D/run/<role>.json."""

    def __init__(self, path: Path, health_url: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._said: dict[str, Any] = {"pid": os.getpid(), "health": health_url, "endpoints": {}}

    def serves(self, name: str, url: str) -> None:
        with self._lock:
            endpoints: Mapping[str, str] = self._said["endpoints"]
            self._said["endpoints"] = {**endpoints, name: url}
            write_json(self._path, self._said)

    def write(self) -> None:
        with self._lock:
            write_json(self._path, self._said)

    def failed(self, sentence: str) -> None:
        with self._lock:
            self._said["error"] = sentence
            try:
                write_json(self._path, self._said)
            except OSError:
                return


def _end_in_time(stop: threading.Event) -> None:
    stop.wait()
    time.sleep(DRAIN_MAX_S)
    os._exit(1)
