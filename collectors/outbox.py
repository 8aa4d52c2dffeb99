"""The one way from sources to the bus: bounded in bytes, committed in groups, in the order of submission."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from bus.errors import BusUnavailableError
from collectors.errors import OutboxClosedError, OutboxFullError
from collectors.port import Appender
from heliograph.message import Message

_BACKOFF_MIN_S = 0.05
_BACKOFF_MAX_S = 1.0


@dataclass(slots=True, eq=False)
class _Submit:
    messages: Sequence[Message]
    size_bytes: int
    deadline: float
    future: Future[None] = field(default_factory=Future)


class Outbox:
    """Hands messages to the bus from one thread, many submits in one produce call.

    A call that fails is repeated with the same bytes and the attempt counted up, because the bus may hold them already.
    Nothing is dropped without its Future saying so.
    """

    def __init__(
        self,
        bus: Appender,
        *,
        bytes_max: int = 64 * 1024 * 1024,
        linger_s: float = 0.02,
        produce_bytes_max: int = 4 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._bus = bus
        self._bytes_max = bytes_max
        self._linger_s = linger_s
        self._produce_bytes_max = produce_bytes_max
        self._clock = clock
        self._uniform = uniform
        self._changed = threading.Condition()
        self._queue: deque[_Submit] = deque()
        self._bytes_held = 0
        self._alone = 0
        self._failures = 0
        self._closing_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    @property
    def bytes_held(self) -> int:
        """Bytes of messages that are not yet durable."""
        return self._bytes_held

    @property
    def is_failing(self) -> bool:
        """Whether the last call to the bus failed."""
        return self._failures > 0

    def submit(self, messages: Sequence[Message], deadline_s: float | None = None) -> Future[None]:
        """All or none of the messages, after all that was submitted before. The Future is done when they are durable.

        The Future fails with BusUnavailableError when the bus has not taken them within `deadline_s` (None: it waits until the
        outbox closes), with OutboxClosedError at the end, or with the bus' own error when it can never take them.
        After a failure they may be on the bus or not. Raises OutboxFullError and OutboxClosedError at once.
        """
        size = sum(m.size_bytes for m in messages)
        deadline = float("inf") if deadline_s is None else self._clock() + deadline_s
        entry = _Submit(tuple(messages), size, deadline)
        entry.future.set_running_or_notify_cancel()  # an await that is cancelled must not take the batch back
        with self._changed:
            if self._closing_at is not None:
                raise OutboxClosedError("the agent is stopping")
            if self._bytes_held + size > self._bytes_max:
                raise OutboxFullError(self._bytes_held, self._bytes_max)
            self._bytes_held += size
            self._queue.append(entry)
            self._changed.notify_all()
        return entry.future

    def close(self, timeout_s: float = 5.0) -> None:
        """Take nothing more, deliver what is held within `timeout_s`, fail the rest. Idempotent."""
        with self._changed:
            if self._closing_at is None:
                self._closing_at = self._clock() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s + 1.0)
        self._settle(list(self._queue), OutboxClosedError("the agent stopped before the bus had taken it"))

    def _run(self) -> None:
        while True:
            group = self._head()
            if not group:
                return
            try:
                self._bus.produce([m for entry in group for m in entry.messages])
            except BusUnavailableError as error:
                self._retry(group, error)
            except Exception as error:  # whatever the bus has against one submit must not fail its neighbours
                self._single_out(group, error)
            else:
                self._failures = 0
                self._settle(group, None)

    def _head(self) -> list[_Submit]:
        """Wait for work; the submits that go into the next call, or none when the outbox is closed and empty."""
        with self._changed:
            while not self._queue:
                if self._closing_at is not None:
                    return []
                self._changed.wait()
            if self._closing_at is None and not self._failures and self._bytes_held < self._produce_bytes_max:
                self._changed.wait_for(self._is_ripe, self._linger_s)
            if self._alone:
                self._alone -= 1
                return [self._queue[0]]
            group: list[_Submit] = []
            size = 0
            for entry in self._queue:
                if group and size + entry.size_bytes > self._produce_bytes_max:
                    break
                group.append(entry)
                size += entry.size_bytes
            return group

    def _is_ripe(self) -> bool:
        return self._closing_at is not None or self._bytes_held >= self._produce_bytes_max

    def _single_out(self, group: list[_Submit], error: Exception) -> None:
        if len(group) == 1:
            self._settle(group, error)
        else:
            self._alone = len(group)

    def _retry(self, group: list[_Submit], error: BusUnavailableError) -> None:
        self._failures += 1
        for entry in group:
            entry.messages = [m.again() for m in entry.messages]
        now = self._clock()
        if self._closing_at is not None and now >= self._closing_at:
            self._settle(list(self._queue), OutboxClosedError("the agent stopped before the bus had taken it"))
            return
        with self._changed:
            late = [entry for entry in self._queue if entry.deadline <= now]
        self._settle(late, error)
        pause_s = min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2 ** min(self._failures, 10)) * (0.5 + self._uniform() / 2)
        with self._changed:
            next_deadline = min((entry.deadline for entry in self._queue), default=float("inf"))
            self._changed.wait_for(lambda: self._closing_at is not None, min(pause_s, max(0.01, next_deadline - now)))
            if self._closing_at is not None:
                self._changed.wait(min(_BACKOFF_MIN_S, max(0.0, self._closing_at - now)))

    def _settle(self, entries: Iterable[_Submit], error: Exception | None) -> None:
        with self._changed:
            settled = [entry for entry in entries if entry in self._queue]
            for entry in settled:
                self._queue.remove(entry)
                self._bytes_held -= entry.size_bytes
        for entry in settled:
            if error is None:
                entry.future.set_result(None)
            else:
                entry.future.set_exception(error)
