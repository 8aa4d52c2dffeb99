"""Delivery: the queue and the one sending thread that a process has.

Nothing here may wait for a lock that a signal handler or a fork could find held: the queues are `SimpleQueue`, whose put is
reentrant, the one lock is reentrant, and a child never touches what its parent had (`producer.Producer` sees to that).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from .errors import ContractError, RefusedError, UnavailableError
from .identity import BatchId
from .ledger import dropped_fact
from .message import HeaderList, Message
from .transport import Transport

_log = logging.getLogger("heliograph.producer")
_FACTS_PER_SEND: Final = 256
_MARKERS_MAX: Final = 1000  # flushes that gave up leave their markers in the queue until the server is back

_Settle: TypeAlias = Callable[[Sequence[Message], "str | None"], None]
"""Told the end of batches: the reason why they were dropped, or None when they are acknowledged."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What delivery may take of memory and time."""

    queue_bytes_max: int = 8 * 1024 * 1024
    """Batches waiting and in flight; what does not fit is dropped and counted."""
    bundle_bytes_max: int = 1024 * 1024
    """Batches are added to a send until it is this large: it may pass it by one batch."""
    facts_bytes_max: int = 1024 * 1024
    """Facts of drops that wait for the ledger."""
    linger_s: float = 0.02
    send_timeout_s: float = 10.0
    backoff_first_s: float = 0.2
    backoff_max_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Edge:
    """Clocks and chance, from outside."""

    monotonic_s: Callable[[], float]
    wall_ns: Callable[[], int]
    jitter: Callable[[float], float]
    """A random number from 0 to its argument."""
    random_bytes: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What has become of a process' batches so far."""

    queued_bytes: int
    """Waiting and in flight."""
    batches_acknowledged: int
    items_acknowledged: int
    batches_dropped: Mapping[str, int]
    """By reason: queue_full, refused, shutdown (submitted after it), exit (not sent by its deadline)."""
    items_dropped: Mapping[str, int]
    sends_failed: int
    facts_lost: int
    """Facts of drops that the ledger never learned of."""


@dataclass(frozen=True, slots=True)
class _Drop:
    topic: str
    headers: HeaderList
    reason: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class _Marker:
    reached: queue.SimpleQueue[None]


class Delivery:
    """The queue of one process, in order, and its thread, which starts with the first batch."""

    def __init__(self, transport: Transport, limits: Limits, edge: Edge) -> None:
        self._transport = transport
        self._limits = limits
        self._edge = edge
        self._producer_id = edge.random_bytes(16)
        self._sequences = itertools.count()
        self._lock = threading.RLock()
        self._arrivals: deque[Message] = deque()
        self._admitting = False
        self._markers = 0
        self._inbox: queue.SimpleQueue[Message | _Marker | None] = queue.SimpleQueue()
        self._nudges: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._deadline_s: float | None = None
        self._closing = False
        self._closed = False
        self._queued_bytes = 0
        self._batches_acknowledged = 0
        self._items_acknowledged = 0
        self._batches_dropped: Counter[str] = Counter()
        self._items_dropped: Counter[str] = Counter()
        self._drops: deque[_Drop] = deque()
        self._drops_bytes = 0
        self._sends_failed = 0
        self._facts_lost = 0
        self._failing = False

    @property
    def failing(self) -> bool:
        """Whether the last send failed."""
        return self._failing

    def statistics(self) -> Statistics:
        with self._lock:
            return Statistics(
                self._queued_bytes,
                self._batches_acknowledged,
                self._items_acknowledged,
                dict(self._batches_dropped),
                dict(self._items_dropped),
                self._sends_failed,
                self._facts_lost,
            )

    def mint(self) -> BatchId:
        """The identity of the next batch of this process; a count's next is atomic, so no lock is needed."""
        return BatchId(self._producer_id, next(self._sequences))

    def submit(self, messages: Sequence[Message]) -> None:
        """Queue the batches, or count them as dropped; never waits."""
        with self._lock:
            self._arrivals.extend(messages)
            if self._admitting:  # a signal handler interrupted submit in this very thread, which goes on with these
                return
            while self._arrivals:
                self._admitting = True
                while self._arrivals:
                    self._admit(self._arrivals.popleft())
                self._admitting = False
        self._start()

    def _admit(self, message: Message) -> None:
        size = message.size_bytes
        if self._closing:
            self._drop((message,), "shutdown")
        elif self._queued_bytes + size > self._limits.queue_bytes_max:
            self._drop((message,), "queue_full")
        else:
            self._queued_bytes += size
            self._inbox.put(message)

    def count_dropped(self, reason: str, items: int) -> None:
        """Count items that never became a batch."""
        with self._lock:
            self._items_dropped[reason] += items

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was submitted before is acknowledged or dropped; False when that takes longer."""
        if self._closed or (self._thread is None and self._inbox.empty()):
            return True
        with self._lock:
            if self._markers >= _MARKERS_MAX:
                return False
            self._markers += 1
        marker = _Marker(queue.SimpleQueue())
        self._inbox.put(marker)
        self._nudge()
        if not self._start():
            self._run_here(marker, timeout_s)
        try:
            marker.reached.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return False
        return True

    def close(self, timeout_s: float) -> bool:
        """Take nothing more, send what is queued until the deadline, count the rest as dropped. A second time it waits for nothing."""
        if self._closed:
            return "exit" not in self._batches_dropped
        with self._lock:
            self._closing = True
            self._deadline_s = self._edge.monotonic_s() + timeout_s
        done = self.flush(timeout_s)
        self._closed = True
        self._abandon()
        self._inbox.put(None)
        self._nudge()
        thread = self._thread
        if done and thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, self._time_left_s(timeout_s)))  # it closes the transport
        return done and "exit" not in self._batches_dropped

    def _nudge(self) -> None:
        if self._nudges.empty():
            self._nudges.put(None)

    def _start(self) -> bool:
        with self._lock:
            if self._thread is not None:
                return True
            if self._inbox.empty():
                return False
            self._thread = threading.Thread(target=self._run, name="heliograph-producer", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is going down; flush sends from its caller's thread
                self._thread = None
            return self._thread is not None

    def _run_here(self, marker: _Marker, timeout_s: float) -> None:
        self._deadline_s = self._edge.monotonic_s() + timeout_s
        while marker.reached.empty() and not self._inbox.empty():
            self._turn()

    def _run(self) -> None:
        while self._safe_turn():
            pass
        self._transport.close()

    def _safe_turn(self) -> bool:
        try:
            return self._turn()
        except Exception:  # the thread outlives its own faults: the application goes on submitting
            _log.exception("Sending telemetry failed unexpectedly")
            return True

    def _turn(self) -> bool:
        entry = self._inbox.get()
        bundle: list[Message] = []
        size = 0
        while isinstance(entry, Message):
            bundle.append(entry)
            size += entry.size_bytes
            if size >= self._limits.bundle_bytes_max:
                break
            try:
                entry = self._inbox.get(timeout=self._limits.linger_s)
            except queue.Empty:
                break
        if bundle:
            self._deliver(bundle, self._settle)
        if not self._failing:
            self._send_facts()
        if isinstance(entry, _Marker):
            self._reach(entry)
        return entry is not None

    def _reach(self, marker: _Marker) -> None:
        with self._lock:
            self._markers -= 1
        marker.reached.put(None)

    def _deliver(self, bundle: Sequence[Message], settle: _Settle) -> None:
        """Send until the batches are acknowledged, refused, or out of time, and settle them accordingly."""
        for attempt in itertools.count():
            timeout_s = self._time_left_s(self._limits.send_timeout_s)
            if timeout_s <= 0:
                settle(bundle, "exit")
                return
            try:
                self._transport.send(bundle, timeout_s)
            except RefusedError as error:
                self._refused(bundle, error, settle)
                return
            except Exception as error:  # whatever a transport raises, the batches are kept
                # They may have arrived all the same: from now on these bytes say so.
                bundle = [message.again() for message in bundle]
                self._failed(error)
                self._back_off(attempt, error)
            else:
                self._failing = False
                settle(bundle, None)
                return

    def _refused(self, bundle: Sequence[Message], error: RefusedError, settle: _Settle) -> None:
        if len(bundle) == 1:
            _log.warning("A batch was refused and is dropped: %s", error)
            settle(bundle, "refused")
            return
        # One bad batch must not take its neighbours along.
        for message in bundle:
            self._deliver((message,), settle)

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._sends_failed += 1
        if not self._failing:
            self._failing = True
            mib = self._limits.queue_bytes_max / 1024 / 1024
            _log.warning(
                "Telemetry cannot be sent now; up to %.0f MiB are kept and sent later. Is the agent (`heliograph up`) or Kafka up? %s",
                mib,
                error,
            )

    def _back_off(self, attempt: int, error: Exception) -> None:
        ceiling = min(self._limits.backoff_max_s, self._limits.backoff_first_s * 2.0 ** min(attempt, 30))
        asked = error.retry_after_s if isinstance(error, UnavailableError) else None
        delay = self._time_left_s(max(asked or 0.0, self._edge.jitter(ceiling)))
        with contextlib.suppress(queue.Empty):
            self._nudges.get(timeout=max(0.0, delay))

    def _time_left_s(self, wanted_s: float) -> float:
        deadline = self._deadline_s
        return wanted_s if deadline is None else min(wanted_s, deadline - self._edge.monotonic_s())

    def _send_facts(self) -> None:
        while self._drops:
            with self._lock:
                drops = [self._drops.popleft() for _ in range(min(len(self._drops), _FACTS_PER_SEND))]
                self._drops_bytes -= sum(map(_size_bytes, drops))
            facts = []
            for drop in drops:
                with contextlib.suppress(ContractError):  # headers that are not ours name nothing
                    facts.append(dropped_fact(drop.topic, drop.headers, drop.reason, drop.time_ms, self.mint))
            if facts:
                self._deliver(facts, self._settle_facts)

    def _settle_facts(self, facts: Sequence[Message], dropped: str | None) -> None:
        if dropped:
            with self._lock:
                self._facts_lost += len(facts)

    def _abandon(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                entry = self._inbox.get_nowait()
                if isinstance(entry, Message):
                    self._settle((entry,), "exit")
                elif entry is not None:
                    self._reach(entry)

    def _settle(self, bundle: Sequence[Message], dropped: str | None) -> None:
        with self._lock:
            self._queued_bytes -= sum(message.size_bytes for message in bundle)
            if dropped:
                self._drop(bundle, dropped)
            else:
                self._batches_acknowledged += len(bundle)
                self._items_acknowledged += sum(map(_items, bundle))

    def _drop(self, bundle: Sequence[Message], reason: str) -> None:
        time_ms = self._edge.wall_ns() // 1_000_000
        with self._lock:
            for message in bundle:
                self._batches_dropped[reason] += 1
                self._items_dropped[reason] += _items(message)
                drop = _Drop(message.topic, message.headers, reason, time_ms)
                if self._drops_bytes + _size_bytes(drop) > self._limits.facts_bytes_max:
                    self._facts_lost += 1
                else:
                    self._drops_bytes += _size_bytes(drop)
                    self._drops.append(drop)


def _items(message: Message) -> int:
    return int.from_bytes(message.header("hg.count") or b"", "big")


def _size_bytes(drop: _Drop) -> int:
    return sum(len(key) + len(value) for key, value in drop.headers)
