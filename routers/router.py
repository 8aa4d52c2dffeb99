"""A router: one consumer group that brings what the log holds into one store, and commits after the write.

The calling thread polls, gathers and commits; one worker thread talks to the store. Whatever belongs to a partition is bound to
its assignment, so that a result that comes after a rebalance is dropped.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from bus.errors import BusError, FencedError, OffsetGapError
from bus.port import Bus, Consumer, Listener, Partitions, TopicPartition
from routers.attempt import Failed, Stored, attempt
from routers.dead_letters import DeadLetters
from routers.gather import Gather, tried, without
from routers.metrics import LagCollector, RouterMetrics
from routers.opening import NotOpened, Opened, open_partitions
from routers.status import RouterStatus
from routers.trouble import Trouble
from routers.worker import Worker
from sinks.port import Cut, Sink

BYTES_BUDGET: Final = 64 * 1024 * 1024
_POLL_S: Final = 0.25
_POLL_BUSY_S: Final = 0.02
_POLL_BYTES_MAX: Final = 4 * 1024 * 1024
_SLOW_WRITE_S: Final = 30.0
_FENCES_MAX: Final = 3

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Owned:
    """One assignment of one partition; a later one is another object."""

    trouble: Trouble
    """Of finding out where to begin."""
    open: bool = False
    done: int = 0
    """Everything below is committed, or was before this group's time."""
    has_committed: bool = False
    gap: int | None = None
    """Where the log starts, when it no longer holds what was to be read next."""


@dataclass(slots=True)
class _Work:
    """A cut on its way, with the assignments that it was gathered under."""

    cut: Cut
    owners: dict[TopicPartition, _Owned]
    attempts: int = 0
    stored: Stored | None = None


class Router:
    """Runs until `stop` is set; then finishes what it holds, or abandons it after `drain_s` (it is read again).

    `clock` is monotonic seconds, `now_ms` the wall clock of dead letters. `beat` is called at every turn of the loop.
    """

    def __init__(
        self,
        bus: Bus,
        sink: Sink,
        *,
        group: str,
        member: str,
        stop: threading.Event,
        registry: CollectorRegistry,
        beat: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        bytes_budget: int = BYTES_BUDGET,
        drain_s: float = 10.0,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        self._bus, self._sink, self._group, self._member = bus, sink, group, member
        self._stop, self._beat, self._clock, self._sleep = stop, beat, clock, sleep
        self._bytes_budget = bytes_budget
        self._drain_s = drain_s
        self._dead_letters = dead_letters or DeadLetters(bus, sink.name, now_ms)
        self._metrics = RouterMetrics(registry, sink.name)
        self._gather = Gather(sink.limits)
        self._owned: dict[TopicPartition, _Owned] = {}
        self._paused: set[TopicPartition] = set()
        self._opening: tuple[dict[TopicPartition, _Owned], Future[list[Opened | NotOpened]]] | None = None
        self._work: _Work | None = None
        self._writing: Future[Stored | Failed] | None = None
        self._held_in_work = 0
        self._store, self._bus_trouble = Trouble(clock, jitter), Trouble(clock, jitter)
        self._jitter, self._fences = jitter, 0
        self._writing_since_s = 0.0
        self._full, self._cuts = False, 0
        self._stop_by_s: float | None = None
        self._worker: Worker | None = None
        self._status = RouterStatus(sink.name, ("it is starting",))
        registry.register(LagCollector(bus, self.status))

    def status(self) -> RouterStatus:
        """The latest snapshot; safe from any thread."""
        return self._status

    def run(self) -> None:
        """Route until told to stop. The sink and the consumer are closed on return, the bus is not."""
        self._worker = Worker(f"router-{self._sink.name}")
        consumer: Consumer | None = None
        try:
            while not self._finished():
                self._beat()
                try:
                    consumer = consumer or self._join()
                    self._turn(consumer, self._worker)
                except FencedError as error:
                    self._fenced(error)
                    consumer = self._left(consumer)
                except BusError as error:
                    self._bus_failed(str(error))
                self._publish()
        finally:
            self._close(consumer, self._worker)

    def _join(self) -> Consumer:
        return self._bus.consumer(self._group, self._sink.topics, self._member, Listener(self._assigned, self._revoked))

    def _left(self, consumer: Consumer | None) -> Consumer | None:
        """One that is fenced again and again never reads again: dying brokers can leave it so though nobody took its place. Join anew."""
        if consumer is None or self._fences < _FENCES_MAX:
            return consumer
        _log.warning("router_joins_anew", store=self._sink.name, fences=self._fences)
        self._fences = 1
        with contextlib.suppress(BusError):
            consumer.close()
        return None

    def _turn(self, consumer: Consumer, worker: Worker) -> None:
        self._poll(consumer)
        self._throttle(consumer)
        self._finish_opening(consumer)
        self._finish_writing(consumer)
        self._mend_gaps(consumer)
        self._start_job(worker)
        self._bus_trouble.over()
        self._fences = 0

    def _finished(self) -> bool:
        if not self._stop.is_set():
            return False
        if self._stop_by_s is None:
            self._stop_by_s = self._clock() + self._drain_s
        idle = self._work is None and self._gather.empty
        hopeless = bool(self._store.reason) and self._writing is None
        return idle or hopeless or self._clock() >= self._stop_by_s

    # Polling and back-pressure

    def _poll(self, consumer: Consumer) -> None:
        room = self._bytes_budget - self._held_bytes()
        try:
            records = consumer.poll(self._poll_timeout_s(), max(1, min(_POLL_BYTES_MAX, room)))
        except OffsetGapError as error:
            self._gap(error)
            return
        positions = {where: consumer.position(where) for where, owned in self._owned.items() if owned.open}
        self._gather.add(records, positions, self._clock())

    def _poll_timeout_s(self) -> float:
        if self._opening or self._writing or self._stop.is_set():
            return _POLL_BUSY_S
        due_in_s = self._store.wait_s if self._work else self._gather.due_in_s(self._clock())
        return _POLL_S if due_in_s is None else min(_POLL_S, max(_POLL_BUSY_S, due_in_s))

    def _held_bytes(self) -> int:
        return self._gather.size_bytes + self._held_in_work

    def _set_work(self, work: _Work | None) -> None:
        self._work = work
        self._held_in_work = sum(r.size_bytes for r in work.cut.records) if work else 0
        if work is None:
            # A store that is still away says so again at the next cut; without one nothing would ever ask it.
            self._store.over()

    def _throttle(self, consumer: Consumer) -> None:
        held = self._held_bytes()
        self._full = held >= self._bytes_budget or (self._full and held > self._bytes_budget // 2)
        if self._full:
            self._gather.force()
        closed = bool(self._full or self._store.reason or self._stop.is_set())
        wanted = {where for where, o in self._owned.items() if closed or not o.open or o.gap is not None}
        if pause := wanted - self._paused:
            consumer.pause(pause)
        if resume := self._paused - wanted:
            consumer.resume(resume)
        self._paused = wanted

    # Partitions come and go

    def _assigned(self, partitions: Partitions) -> None:
        for where in partitions:
            self._owned[where] = _Owned(Trouble(self._clock, self._jitter))
        self._paused -= partitions
        self._forget(partitions)

    def _revoked(self, partitions: Partitions) -> None:
        for where in partitions:
            self._owned.pop(where, None)
        self._paused -= partitions
        self._forget(partitions)

    def _fenced(self, error: FencedError) -> None:
        """Drop all work and begin again from what is committed; the next poll says which partitions are still ours."""
        self._metrics.fenced.inc()
        self._assigned(frozenset(self._owned))
        self._fences += 1
        # Fenced again at once: another process has this member's name, or the bus is busy moving partitions.
        if self._fences > 1:
            self._bus_failed(str(error))

    def _forget(self, partitions: Partitions) -> None:
        self._gather.drop(partitions)
        if self._work is not None and self._writing is None:
            self._set_work(self._still_ours(self._work))

    def _still_ours(self, work: _Work) -> _Work | None:
        gone = [where for where, owned in work.owners.items() if self._owned.get(where) is not owned]
        if not gone:
            return work
        cut = without(work.cut, gone)
        owners = {where: owned for where, owned in work.owners.items() if where not in gone}
        return replace(work, cut=cut, owners=owners) if cut.ranges else None

    def _finish_opening(self, consumer: Consumer) -> None:
        if self._opening is None or not self._opening[1].done():
            return
        owners, future = self._opening
        self._opening = None
        for result in future.result():
            owned = owners[result.where]
            if self._owned.get(result.where) is not owned:
                continue
            if isinstance(result, NotOpened):
                self._not_opened(owned, result)
                continue
            if result.committed is not None and result.start < result.committed:
                # The store lacks what was committed; said to the bus too, so that a crash in the middle does not skip the rest.
                consumer.commit({result.where: result.start})
            consumer.seek(result.where, result.start)
            self._gather.open(result.where, result.log_id, result.start, result.end)
            owned.open, owned.done = True, result.start
            # Whoever begins at the start has lost nothing of what expired before.
            owned.has_committed = result.committed is not None and result.start > 0
            owned.trouble.over()

    def _not_opened(self, owned: _Owned, result: NotOpened) -> None:
        if owned.trouble.failed(result.reason):
            _log.warning("router_cannot_open", store=self._sink.name, reason=result.reason)
        self._metrics.retried(result.fault)

    def _gap(self, error: OffsetGapError) -> None:
        where = TopicPartition(error.topic, error.partition)
        owned = self._owned.get(where)
        if owned is None or not owned.open:
            return
        owned.gap = error.log_start
        self._gather.force()
        # A group that never committed has lost nothing: it came after these had expired.
        if owned.has_committed:
            self._metrics.offsets_lost.inc(error.log_start - error.expected)
            _log.error(
                "router_offsets_lost", store=self._sink.name, topic=error.topic, partition=error.partition,
                first=error.expected, next=error.log_start,
            )  # fmt: skip

    def _mend_gaps(self, consumer: Consumer) -> None:
        for where, owned in self._owned.items():
            # What was gathered before the gap goes into a range of its own first.
            if owned.gap is not None and not self._gather.holds(where):
                consumer.seek(where, owned.gap)
                self._gather.jump(where, owned.gap)
                owned.gap = None

    # Work

    def _start_job(self, worker: Worker) -> None:
        if self._opening is not None or self._writing is not None:
            return
        if self._work is None and not self._start_opening(worker) and self._cut_due():
            cut = self._gather.take()
            self._set_work(_Work(cut, {r.where: self._owned[r.where] for r in cut.ranges}))
        work = self._work
        if work is not None and work.stored is None and self._store.wait_s == 0:
            work.attempts += 1
            cut, attempts = work.cut, work.attempts
            self._writing_since_s = self._clock()
            self._writing = worker.submit(lambda: attempt(self._sink, self._dead_letters, cut, attempts))

    def _start_opening(self, worker: Worker) -> bool:
        closed = {w: o for w, o in self._owned.items() if not o.open and o.trouble.wait_s == 0}
        if not closed or self._stop.is_set():
            return False
        wanted = sorted(closed)
        self._opening = closed, worker.submit(lambda: open_partitions(self._bus, self._sink, self._group, wanted))
        return True

    def _cut_due(self) -> bool:
        return self._gather.due_in_s(self._clock()) == 0 or (self._stop.is_set() and not self._gather.empty)

    def _finish_writing(self, consumer: Consumer) -> None:
        if self._writing is not None and self._writing.done():
            result = self._writing.result()
            self._writing = None
            if self._work is not None and isinstance(result, Stored):
                self._work.stored = result
                self._store.over()
            elif self._work is not None and isinstance(result, Failed):
                self._store_failed(result, self._work)
        if self._work is not None and self._work.stored is not None:
            self._commit(consumer, self._work, self._work.stored)

    def _store_failed(self, failed: Failed, work: _Work) -> None:
        if self._store.failed(failed.reason):
            _log.warning("router_write_failed", store=self._sink.name, reason=failed.reason, attempts=work.attempts)
        self._metrics.retried(failed.fault)
        self._set_work(self._still_ours(replace(work, cut=tried(work.cut))))

    def _commit(self, consumer: Consumer, work: _Work, stored: Stored) -> None:
        ours = {r.where: r.next for r in work.cut.ranges if self._owned.get(r.where) is work.owners[r.where]}
        if ours:
            consumer.commit(ours)
        bytes_written = self._held_in_work
        self._set_work(None)
        if not ours:
            return
        for where, offset in ours.items():
            self._owned[where].done, self._owned[where].has_committed = offset, True
        self._cuts += 1
        metrics, written = self._metrics, stored.written
        metrics.stored.inc(len(work.cut.records) - stored.dead_letters)
        metrics.dead_lettered.inc(stored.dead_letters)
        metrics.items.inc(written.items)
        metrics.duplicates.inc(written.duplicates)
        metrics.bytes.inc(bytes_written)
        metrics.cut_seconds.observe(stored.duration_s)

    # Trouble and the end

    def _bus_failed(self, reason: str) -> None:
        if self._bus_trouble.failed(reason):
            _log.warning("router_bus_unavailable", store=self._sink.name, reason=reason)
        self._metrics.retried("bus")
        while self._bus_trouble.wait_s > 0 and not self._finished():
            self._beat()
            self._publish()
            if self._stop.is_set():
                self._sleep(_POLL_BUSY_S)
            else:
                self._stop.wait(min(_POLL_S, self._bus_trouble.wait_s))

    def _reasons(self) -> list[str]:
        found = [self._store.reason, self._bus_trouble.reason, *(o.trouble.reason for o in self._owned.values())]
        if self._writing is not None and self._clock() - self._writing_since_s > _SLOW_WRITE_S:
            found.append(f"the {self._sink.name} store has not answered for {_SLOW_WRITE_S:.0f} s")
        if self._stop.is_set():
            found.append("it is stopping")
        if not any(found) and any(not o.open for o in self._owned.values()):
            found.append("it is finding out where to read on")
        return [reason for reason in dict.fromkeys(found) if reason]

    def _publish(self) -> None:
        reasons = tuple(self._reasons())
        done = {where: o.done for where, o in self._owned.items() if o.open}
        self._status = RouterStatus(self._sink.name, reasons, self._held_bytes(), len(self._owned), done, self._cuts)
        self._metrics.ready.set(not reasons)
        self._metrics.held_bytes.set(self._status.gathered_bytes)

    def _close(self, consumer: Consumer | None, worker: Worker) -> None:
        if self._work is not None or not self._gather.empty:
            _log.warning("router_abandons_work", store=self._sink.name, bytes=self._held_bytes())
        self._set_work(None)
        if consumer is not None:
            try:
                consumer.close()
            except BusError as error:
                _log.warning("router_bus_unavailable", store=self._sink.name, reason=str(error))
        # A store that hangs keeps its thread; the process ends without it, and the cut comes again.
        if worker.close(1.0 if self._writing is None else 0.0):
            self._sink.close()
