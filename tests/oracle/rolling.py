"""Roles by themselves, several of each side by side, restarted one after the other and killed while telemetry flows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from . import verdict
from .engines import Engines
from .platform_under_test import free_port, wait_for
from .roles_alone import RolesAlone
from .run import SETTLE_DEADLINE_S, START_DEADLINE_S, await_committed, await_unspooled
from .senders import Noted, send_batches, started
from .verdict import Verdict

STORES = ("search", "archive", "tsdb")


def roll(
    seed: int, folder: Path, engines: Engines, *, shared: bool, standby: frozenset[str], tell: Callable[[str], None]
) -> Sequence[Verdict]:
    """One run; `standby` are stores of which the second router only waits for its turn. Raises AssertionError when a role does
    not start, end or settle.
    """
    roles = RolesAlone(folder, engines.config, shared)
    pairs = [(f"{store}-{side}", store) for store in STORES for side in "ab"]
    noted, stop = Noted(), threading.Event()
    try:
        roles.start("agent", "agent")
        for name, store in pairs:
            roles.start(name, "router", store)
            if name.endswith("a"):
                roles.await_ready(name)
        roles.start("query-a", "query")
        other = free_port()
        roles.start("query-b", "query", environment={"HELIOGRAPH_HTTP__PORT": str(other)})
        roles.await_ready("agent", "query-a", "query-b", *(n for n, s in pairs if n.endswith("a") or s not in standby))
        sender = started(send_batches, seed, roles.otlp_url, noted, stop)
        for name, _ in pairs:
            tell(f"restart {name}")
            assert roles.stop(name) == 0, roles.said(name)[-2000:]
            roles.again(name)
            roles.await_answer(name)
        for name, _ in pairs[::2]:
            tell(f"SIGKILL {name}")
            roles.kill(name)
            roles.again(name)
            roles.await_answer(name)
        stop.set()
        sender.join(START_DEADLINE_S)
        await_unspooled(roles.data_dir("agent"), SETTLE_DEADLINE_S)
        bus = engines.bus()
        try:
            await_committed(bus, SETTLE_DEADLINE_S)
        finally:
            bus.close()
        for port in (roles.http_port, other):
            wait_for("both query services find a record", lambda: _total(roles, seed, port) > 0, START_DEADLINE_S)  # noqa: B023
        for name in list(roles.processes):
            assert roles.stop(name) == 0, roles.said(name)[-2000:]
    finally:
        roles.kill_all()
    issued, acknowledged = noted.issued, noted.acknowledged
    assert acknowledged
    return [
        verdict.judge("search", engines.documents(), issued, verdict.signals(acknowledged, "log", "span")),
        verdict.judge("archive", engines.objects(), issued, acknowledged),
        verdict.judge("tsdb", engines.samples(), issued, verdict.signals(acknowledged, "sample")),
    ]


def _total(roles: RolesAlone, seed: int, port: int) -> int:
    try:
        return int(roles.get(f"/api/logs?limit=1&service=oracle-{seed}", port)["total"])
    except OSError:
        return 0
