"""One run of the oracle: start, send, break, settle, judge."""

from __future__ import annotations

import functools
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bus.port import Bus
from heliograph import contracts

from . import verdict
from .engines import EmbeddedEngines, Engines
from .faults import WHOLE_PLATFORM, Fault, plan
from .platform_under_test import Platform, wait_for
from .senders import Noted, post_otlp, send_batches, started, write_lines
from .verdict import Verdict

ROLES = ("agent", "router-search", "router-archive", "router-tsdb", "query", "rules")
READERS = {
    "router.search": (contracts.LOGS_TOPIC, contracts.TRACES_TOPIC),
    "router.archive": (contracts.METRICS_TOPIC, contracts.LOGS_TOPIC, contracts.TRACES_TOPIC),
    "router.tsdb": (contracts.METRICS_TOPIC,),
}
START_DEADLINE_S = 120.0
SETTLE_DEADLINE_S = 180.0
AWAY_S = 3.0
"""How long a server that was killed stays away, before it starts again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found."""

    seed: int
    faults: Sequence[Fault]
    issued: int
    acknowledged: int
    verdicts: Sequence[Verdict]
    live: bool
    """Whether a batch that was sent after the faults was found."""

    @property
    def good(self) -> bool:
        return self.live and self.acknowledged > 0 and all(v.good for v in self.verdicts)


def run(
    seed: int,
    folder: Path,
    duration_s: float,
    faults: int,
    tell: Callable[[str], None],
    engines: Engines | None = None,
) -> Outcome:
    """A whole run in an empty folder, on the embedded engines unless others are given; raises AssertionError when the platform
    does not start, settle or stop.
    """
    logs = folder / "followed"
    logs.mkdir(parents=True)
    engines = engines or EmbeddedEngines(folder / "data")
    config = folder / "heliograph.yaml"
    config.write_text(engines.config)
    platform = Platform(
        folder / "data", follow=(str(logs / "app.log*"),), arguments=("--config", str(config)) if engines.config else ()
    )
    planned = plan(seed, ROLES, duration_s, faults, tuple(engines.servers))
    noted = Noted()
    try:
        platform.start()
        wait_for("the platform is ready", platform.answers, START_DEADLINE_S)
        stop = threading.Event()
        senders = [
            started(send_batches, seed, platform.otlp_url, noted, stop),
            started(write_lines, seed, logs / "app.log", noted, stop),
            started(post_otlp, seed, platform.otlp_url, noted, stop),
        ]
        _break(platform, engines, planned, duration_s, tell)
        wait_for("the platform is ready again", platform.answers_at_last, START_DEADLINE_S)
        stop.set()
        for sender in senders:
            sender.join(START_DEADLINE_S)
        live = _lives(seed, platform, noted)
        _settle(platform, engines, logs)
        platform.stop()
    finally:
        platform.kill()
    issued, acknowledged = noted.issued, noted.acknowledged
    texts = ("log", "span", "line", "otlp")
    verdicts = [
        verdict.judge("search", engines.documents(), issued, verdict.signals(acknowledged, *texts)),
        verdict.judge("archive", engines.objects(), issued, acknowledged),
        verdict.judge("tsdb", engines.samples(), issued, verdict.signals(acknowledged, "sample")),
    ]
    outcome = Outcome(seed, planned, len(issued), len(acknowledged), verdicts, live)
    if outcome.good:
        shutil.rmtree(folder)
    return outcome


def _break(
    platform: Platform, engines: Engines, planned: Sequence[Fault], duration_s: float, tell: Callable[[str], None]
) -> None:
    start = time.monotonic()
    mending: list[threading.Thread] = []
    for fault in planned:
        threading.Event().wait(max(0.0, start + fault.at_s - time.monotonic()))
        tell(str(fault))
        if fault.role == WHOLE_PLATFORM:
            platform.kill()
            platform.start()
        elif fault.role in engines.servers:
            # One server at a time: what two at once may cost is not promised.
            for thread in mending:
                thread.join()
            mend = engines.servers[fault.role]()
            mending = [started(_mend_later, mend)]
        else:
            platform.signal_role(fault.role, signal.Signals(fault.signal))
    threading.Event().wait(max(0.0, start + duration_s - time.monotonic()))
    for thread in mending:
        thread.join()


def _mend_later(mend: Callable[[], None]) -> None:
    threading.Event().wait(AWAY_S)
    mend()


def _lives(seed: int, platform: Platform, noted: Noted) -> bool:
    stop = threading.Event()
    fresh = Noted()
    sender = started(send_batches, seed + 1_000_000, platform.otlp_url, fresh, stop)
    wait_for("a fresh batch is acknowledged", lambda: bool(fresh.acknowledged), START_DEADLINE_S)
    stop.set()
    sender.join(START_DEADLINE_S)
    noted.issue(tuple(fresh.issued))
    noted.acknowledge(tuple(fresh.acknowledged))
    service = f"oracle-{seed + 1_000_000}"
    wait_for(
        "a fresh record is found", lambda: platform.get(f"/api/logs?service={service}")["total"] > 0, SETTLE_DEADLINE_S
    )
    return True


def _any_log(platform: Platform, text: str) -> bool:
    try:
        return bool(platform.get(f"/api/logs?limit=1&q={text}")["total"])
    except OSError:
        return False


def _settle(platform: Platform, engines: Engines, logs: Path) -> None:
    """Wait until every line of the files is on the bus, no spool holds anything, and every router has committed to the bus' end."""
    lines = [path.read_bytes().splitlines()[-1].decode() for path in logs.iterdir() if path.stat().st_size]
    for line in lines:
        phrase = quote(f'"oracle {line.split(" ")[1]}"')
        found = functools.partial(_any_log, platform, phrase)
        wait_for(f"the last line of a followed file is found: {line[:60]}", found, SETTLE_DEADLINE_S)
    await_unspooled(platform.data_dir, SETTLE_DEADLINE_S)
    bus = engines.bus()
    try:
        await_committed(bus, SETTLE_DEADLINE_S)
    finally:
        bus.close()


def await_unspooled(data_dir: Path, deadline_s: float) -> None:
    """What the agents of a data directory acknowledged while the bus was away is on the bus."""

    def is_empty() -> bool:
        return not any(any(data_dir.glob(pattern)) for pattern in ("spool/*.seg", "*/spool/*.seg"))

    wait_for("nothing waits in a spool", is_empty, deadline_s)


def await_committed(bus: Bus, deadline_s: float) -> None:
    """Every router has committed to where the log ends now."""
    ends = {topic: bus.end_offsets(topic) for topics in READERS.values() for topic in topics}

    def committed() -> bool:
        for group, topics in READERS.items():
            for topic in topics:
                done = bus.committed(group, topic)
                if any(done.get(p, 0) < end for p, end in ends[topic].items()):
                    return False
        return True

    wait_for("every router has committed to the end", committed, deadline_s)
