"""Batches that got an identity but could not be handed over: each becomes a ledger fact once the bus is back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from collectors import ledger_facts
from collectors.errors import OutboxClosedError, OutboxFullError
from collectors.outbox import Outbox
from heliograph import contracts
from heliograph.errors import DecodeError
from heliograph.identity import Mint
from heliograph.message import Message

_LATELY_BYTES: Final = 16 * 1024 * 1024


class Drops:
    """Keeps facts, at most `bytes_max` of them; the oldest go first, and `forgotten` counts them. Safe from any thread."""

    def __init__(
        self, outbox: Outbox, mint: Mint, time_ns: Callable[[], int], bytes_max: int = 4 * 1024 * 1024
    ) -> None:
        self._outbox = outbox
        self._mint = mint
        self._time_ns = time_ns
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._facts: deque[Message] = deque()
        self._bytes = 0
        self._gave_facts = 0
        self._gave_in_all = 0
        self.dropped = 0
        """Batches, since the start."""
        self.forgotten = 0
        """Of these, batches whose fact could not be kept."""

    def note(self, messages: Sequence[Message], reason: str) -> None:
        """These batches are dropped for `reason` (PROTOCOLS: refused, queue_full, source_gone, …)."""
        time_ms = self._time_ns() // 1_000_000
        facts = [fact for m in messages if (fact := self._fact(m, reason, time_ms)) is not None]
        with self._lock:
            self.dropped += len(messages)
            self.forgotten += len(messages) - len(facts)
            self._keep(facts)

    def gave_way(self, messages: Sequence[Message], reason: str) -> None:
        """As `note`, for what the spool drops. A fact among it goes round once more, as it is.

        When most of what was dropped lately is facts they are forgotten: otherwise facts alone would fill the spool in the end.
        """
        facts = [m for m in messages if m.topic == contracts.LEDGER_TOPIC]
        self.note([m for m in messages if m.topic != contracts.LEDGER_TOPIC], reason)
        with self._lock:
            if self._are_too_many(sum(f.size_bytes for f in facts), sum(m.size_bytes for m in messages)):
                self.forgotten += len(facts)
            else:
                self._keep(facts)

    def _are_too_many(self, fact_bytes: int, bytes_in_all: int) -> bool:
        self._gave_facts += fact_bytes
        self._gave_in_all += bytes_in_all
        if self._gave_in_all > 2 * _LATELY_BYTES:
            self._gave_facts //= 2
            self._gave_in_all //= 2
        return 2 * self._gave_facts > max(self._gave_in_all, _LATELY_BYTES)

    @property
    def waiting(self) -> int:
        """Facts that the outbox has not been given yet."""
        return len(self._facts)

    def flush(self) -> None:
        """Hand over what is kept; called now and then. What the outbox does not take is kept for the next call."""
        with self._lock:
            facts, self._facts, self._bytes = list(self._facts), deque(), 0
        if not facts:
            return
        try:
            future = self._outbox.submit(facts)
        except (OutboxFullError, OutboxClosedError):
            with self._lock:
                self._keep(facts)
            return
        future.add_done_callback(lambda done: self._lost(len(facts)) if done.exception() else None)

    def _fact(self, message: Message, reason: str, time_ms: int) -> Message | None:
        try:
            return ledger_facts.dropped(message.topic, message.headers, reason, time_ms, self._mint)
        except DecodeError:  # without headers there is nothing to name it by
            return None

    def _keep(self, facts: Sequence[Message]) -> None:
        self._facts.extend(facts)
        self._bytes += sum(f.size_bytes for f in facts)
        while self._bytes > self._bytes_max:
            self._bytes -= self._facts.popleft().size_bytes
            self.forgotten += 1

    def _lost(self, count: int) -> None:
        with self._lock:
            self.forgotten += count
