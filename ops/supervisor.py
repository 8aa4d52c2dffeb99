"""Keeps every role running as its own process: starts, watches, restarts, stops; tells others where things are."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import psutil

from ops import role_log
from ops.data_dir import write_json
from ops.errors import EXIT_FAILURE, ConfigError, Problem, RoleFailedError
from ops.explain import explain
from ops.lifecycle import Phase, RestartPolicy, RoleLife, Shutdown, Verdict
from ops.role_process import SETTINGS_BYTES_MAX, Probe, Report, RoleProcess, probe

TICK_S: Final = 0.05
PROBE_INTERVAL_S: Final = 1.0
_PROBE_INTERVAL_STARTING_S: Final = 0.1
_LOG_INTERVAL_S: Final = 5.0
_KILL_WAIT_S: Final = 5.0
_ROOM_BYTES_MIN: Final = 256 * 1024

Command = Callable[[str], Sequence[str]]
"""A role's name -> the command that runs it."""
EventKind = Literal["started", "not started", "ready", "not ready", "exited", "hung", "stopped"]
OnEvent = Callable[[EventKind, str, str], None]
"""(what happened, the role, a detail for people)."""


@dataclass(slots=True)
class _Role:
    name: str
    life: RoleLife
    process: RoleProcess | None = None
    report: Report = field(default_factory=Report)
    asked: Future[Probe] | None = None
    ask_at_s: float = 0.0
    is_ready: bool = False
    reasons: tuple[tuple[str, str], ...] = ()


class Supervisor:
    """Runs roles until told to stop. One thread owns it; it must be the thread that outlives the roles."""

    def __init__(
        self,
        roles: Sequence[str],
        command: Command,
        data_dir: Path,
        settings: bytes,
        endpoints: Mapping[str, str],
        clock_s: Callable[[], float],
        on_event: OnEvent,
        essential: Collection[str] = (),
        policy: RestartPolicy = RestartPolicy(),  # noqa: B008 - frozen
    ) -> None:
        """`settings` is written to each role's standard input; `endpoints` are URLs by name until a role reports its own."""
        if len(settings) > SETTINGS_BYTES_MAX:
            raise ConfigError([Problem("", "", f"the settings are larger than {SETTINGS_BYTES_MAX} bytes; use globs")])
        self._roles = {name: _Role(name, RoleLife(policy, name in essential)) for name in roles}
        self._command = command
        self._data_dir = data_dir
        self._settings = settings
        self._endpoints = dict(endpoints)
        self._clock_s = clock_s
        self._on_event = on_event
        self._told: dict[str, object] = {}
        self._log_at_s = 0.0
        self._probes = ThreadPoolExecutor(max_workers=max(1, len(roles)), thread_name_prefix="probe")

    @property
    def are_all_ready(self) -> bool:
        """Whether every role can do its work."""
        return all(role.is_ready for role in self._roles.values())

    def not_ready(self) -> dict[str, str]:
        """Why, by role."""
        return {
            role.name: ", ".join(f"{part}: {why}" for part, why in role.reasons) or role.life.phase.value
            for role in self._roles.values()
            if not role.is_ready
        }

    def run(self, stop: threading.Event, at_once: threading.Event, on_turn: Callable[[], None] = lambda: None) -> None:
        """Supervise until `stop`, then stop every role in order; `at_once` kills them. Raises RoleFailedError."""
        self._sweep()
        try:
            while not stop.is_set():
                self.turn()
                on_turn()
                stop.wait(TICK_S)
        finally:
            self._stop(at_once)
            self._probes.shutdown(wait=False, cancel_futures=True)
            with contextlib.suppress(OSError):
                (self._data_dir / "endpoints.json").unlink(missing_ok=True)

    def turn(self) -> None:
        """Look at every role once. Raises RoleFailedError."""
        now_s = self._clock_s()
        for role in self._roles.values():
            self._watch_exit(role, now_s)
            if role.life.is_due(now_s):
                self._start(role, now_s)
            self._watch_health(role, now_s)
        # A full disk must not end what runs: the files are written once there is room again.
        with contextlib.suppress(OSError):
            self._tell()
        if now_s >= self._log_at_s:
            self._log_at_s = now_s + _LOG_INTERVAL_S
            for name in self._roles:
                with contextlib.suppress(OSError):
                    role_log.bound(role_log.path_of(self._data_dir, name))

    def _start(self, role: _Role, now_s: float) -> None:
        role.report, role.asked, role.is_ready, role.reasons = Report(), None, False, ()
        role.life.started(now_s)
        try:
            role.process = RoleProcess(role.name, self._command(role.name), self._data_dir, self._settings)
        except OSError as error:
            role.life.exited(now_s, EXIT_FAILURE)
            self._on_event("not started", role.name, explain(error)[0])
            return
        role.ask_at_s = now_s
        self._on_event("started", role.name, f"process {role.process.pid}")

    def _watch_exit(self, role: _Role, now_s: float) -> None:
        code = role.process.exit_code() if role.process else None
        if role.process is None or code is None:
            return
        why = role.process.report().error or self._disk_trouble()
        role.process, role.report, role.is_ready, role.reasons = None, Report(), False, ()
        verdict = role.life.exited(now_s, code)
        detail = why or (f"signal {-code}" if code < 0 else f"exit code {code}")
        if verdict is Verdict.GIVE_UP:
            log = role_log.path_of(self._data_dir, role.name)
            raise RoleFailedError(role.name, why or f"{detail}, see {log}", code)
        self._on_event("exited", role.name, f"{detail}; again in {max(0.0, role.life.due_s - now_s):.1f} s")

    def _disk_trouble(self) -> str:
        # On a full disk a role can write down neither a log line nor why it ended.
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self._data_dir).free < _ROOM_BYTES_MIN:
                return f"the disk is full: free some space for {self._data_dir}"
        return ""

    def _watch_health(self, role: _Role, now_s: float) -> None:
        if role.process is None or role.life.phase is Phase.ENDING:
            return
        if role.asked is not None and role.asked.done():
            answer, role.asked = role.asked.result(), None
            if answer.is_alive and not answer.is_ready:
                role.ask_at_s = now_s + _PROBE_INTERVAL_STARTING_S
            self._judge(role, role.process, answer)
        elif role.asked is None and now_s >= role.ask_at_s:
            role.report = role.process.report()
            role.ask_at_s = now_s + (PROBE_INTERVAL_S if role.report.health else _PROBE_INTERVAL_STARTING_S)
            if role.report.health:
                role.asked = self._probes.submit(probe, role.report.health)
        if role.life.is_overdue(now_s):
            self._kill_hung(role, role.process, "it did not answer after its start")

    def _judge(self, role: _Role, process: RoleProcess, answer: Probe) -> None:
        if not answer.is_alive:
            if role.life.missed(is_busy=process.has_worked()):
                self._kill_hung(role, process, "it does not answer, or its main loop is stuck")
            return
        role.life.answered()
        if answer.is_ready != role.is_ready:
            why = ", ".join(f"{part}: {reason}" for part, reason in answer.reasons)
            self._on_event("ready" if answer.is_ready else "not ready", role.name, why)
        if answer.is_ready:
            role.life.ready()
        role.is_ready, role.reasons = answer.is_ready, answer.reasons

    def _kill_hung(self, role: _Role, process: RoleProcess, why: str) -> None:
        self._on_event("hung", role.name, why)
        role.life.ending()
        role.is_ready = False
        process.kill()

    def _tell(self) -> None:
        roles = {
            role.name: {
                "pid": role.process.pid if role.process else None,
                "health": role.report.health,
                "restarts": max(0, role.life.restarts),
            }
            for role in self._roles.values()
        }
        reported = {name: url for role in self._roles.values() for name, url in role.report.endpoints}
        document: dict[str, object] = {**self._endpoints, **reported, "roles": roles}
        if document != self._told:
            write_json(self._data_dir / "endpoints.json", document)
            self._told = document

    def _alive(self) -> list[str]:
        return [r.name for r in self._roles.values() if r.process is not None and r.process.exit_code() is None]

    def _stop(self, at_once: threading.Event) -> None:
        shutdown = Shutdown(tuple(self._roles), self._clock_s())
        while alive := self._alive():
            order = shutdown.step(self._clock_s(), alive)
            killed = alive if at_once.is_set() else order.kill
            for name in order.terminate:
                self._of(name).terminate()
            for name in killed:
                self._of(name).kill()
            if killed:
                self._await_end()
                break
            at_once.wait(TICK_S)
        for name in self._roles:
            self._on_event("stopped", name, "")

    def _await_end(self) -> None:
        deadline_s = self._clock_s() + _KILL_WAIT_S
        pause = threading.Event()
        while self._alive() and self._clock_s() < deadline_s:
            pause.wait(TICK_S)

    def _of(self, name: str) -> RoleProcess:
        process = self._roles[name].process
        assert process is not None
        return process

    def _sweep(self) -> None:
        """Kill roles that an earlier supervisor of this data directory left behind, stopped ones included."""
        ours = [list(self._command(name)) for name in self._roles]
        left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] in ours]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=_KILL_WAIT_S)
