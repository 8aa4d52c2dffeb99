"""This machine's metrics as a source: read all at once, in one batch with one timestamp."""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import psutil

from collectors.drops import Drops
from collectors.errors import OutboxClosedError, OutboxFullError
from collectors.host_readings import READINGS, Reading
from collectors.outbox import Outbox
from collectors.process_readings import processes
from heliograph.identity import Mint
from heliograph.message import Message
from heliograph.metrics import LabelPairs, Layout, Series, seal_metrics
from heliograph.records import Source as ResourceOf

log = logging.getLogger(__name__)

_BEAT_S = 0.5
_KEEP_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Shape:
    """Which series there are, and where each reading's value goes."""

    keys: tuple[tuple[str, LabelPairs], ...]
    layout: Layout
    order: tuple[int, ...]


class Target:
    """One job whose readings become one batch; its layout is encoded once and as long as the series stay the same."""

    def __init__(self, job: str, instance: str) -> None:
        self._fixed = (("instance", instance), ("job", job))
        self._source = ResourceOf({"service.name": job, "service.instance.id": instance, "host.name": instance})
        self._shape: _Shape | None = None

    def batch(self, readings: Iterable[Reading], time_ms: int, mint: Mint) -> Message | None:
        """The batch of these readings; none when there are none."""
        found = list(readings)
        if not found:
            return None
        keys = tuple((family.name, labels) for family, labels, _ in found)
        if self._shape is None or self._shape.keys != keys:
            self._shape = self._shaped(found, keys)
        values = array("d", [found[i][2] for i in self._shape.order])
        return seal_metrics(self._source, self._shape.layout, time_ms, values, mint)

    def _shaped(self, found: list[Reading], keys: tuple[tuple[str, LabelPairs], ...]) -> _Shape:
        series: dict[tuple[str, LabelPairs], tuple[Series, int]] = {}
        for index, (family, labels, _) in enumerate(found):
            # An empty label value is the same as no label, and the log takes only the latter.
            complete = tuple(sorted((key, value) for key, value in (*labels, *self._fixed) if value))
            whole = Series(family.name, complete, family.kind, "", family.help, family.name)
            series.setdefault((family.name, complete), (whole, index))
        ordered = [series[key] for key in sorted(series)]
        return _Shape(keys, Layout.of([s for s, _ in ordered]), tuple(index for _, index in ordered))


class HostSource:
    """Reads this machine every `interval_s`, the first time at once; and our own processes, when told their pids by role."""

    name = "host"

    def __init__(
        self,
        outbox: Outbox,
        drops: Drops,
        mint: Mint,
        *,
        hostname: str,
        interval_s: float = 15.0,
        pids: Callable[[], Mapping[str, int]] = dict,
        clock: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._outbox = outbox
        self._drops = drops
        self._mint = mint
        self._interval_s = interval_s
        self._pids = pids
        self._clock = clock
        self._time_ns = time_ns
        self._node = Target("node", hostname)
        self._processes = Target("heliograph", hostname)
        self._told: set[str] = set()
        self._counts = dict.fromkeys(("scrapes", "samples", "failed_readings", "dropped_batches"), 0)

    def status(self) -> dict[str, int | float | str]:
        return dict(self._counts)

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        next_at = self._clock()
        while not stop.is_set():
            beat()
            now = self._clock()
            if now >= next_at:
                self._scrape()
                next_at = max(next_at + self._interval_s, now)
            stop.wait(min(_BEAT_S, max(0.0, next_at - self._clock())))

    def _scrape(self) -> None:
        time_ms = self._time_ns() // 1_000_000
        batches = (
            self._node.batch(self._readings(), time_ms, self._mint),
            self._processes.batch(processes(self._pids()), time_ms, self._mint),
        )
        messages = [batch for batch in batches if batch is not None]
        self._counts["scrapes"] += 1
        self._counts["samples"] += sum(int.from_bytes(m.header("hg.count") or b"", "big") for m in messages)
        try:
            sent = self._outbox.submit(messages, _KEEP_S)
        except (OutboxFullError, OutboxClosedError):
            self._drop(messages)
            return
        sent.add_done_callback(lambda done: self._drop(messages) if done.exception() else None)

    def _readings(self) -> Iterator[Reading]:
        for name, read in READINGS.items():
            yield from self._read(name, read)

    def _read(self, name: str, read: Callable[[], Iterator[Reading]]) -> list[Reading]:
        try:
            return list(read())
        except (OSError, ValueError, RuntimeError, NotImplementedError, psutil.Error) as error:
            self._counts["failed_readings"] += 1
            if name not in self._told:
                self._told.add(name)
                log.warning("the host's %s cannot be read: %s", name, error)
            return []

    def _drop(self, messages: list[Message]) -> None:
        self._counts["dropped_batches"] += len(messages)
        self._drops.note(messages, "queue_full")
