"""The bus with a spool behind it: while the bus is away, what comes is kept on disk and delivered afterwards."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from bus.errors import BusUnavailableError, OversizeError
from bus.port import MESSAGE_BYTES_MAX
from collectors.patient_bus import PATIENCE_S, PatientBus
from collectors.port import Appender
from collectors.spool_delivery import deliver
from heliograph.errors import HeliographError, SpoolError
from heliograph.message import Message
from heliograph.spool import Segment, Spool

log = logging.getLogger(__name__)

AWAY: Final = "the bus is away: what comes is kept in the spool"
_BACKOFF_MIN_S: Final = 0.1
_BACKOFF_MAX_S: Final = 10.0
_REOPEN_S: Final = 10.0
_FAILURES_OF_ONE: Final = 16
_NO_SPOOL: Final = "the bus has no spool behind it now: %s"


class SpooledBus:
    """What the outbox produces to. A thread of its own opens the spool and empties it; new batches overtake those in it.

    Without a spool that can be used it is the bus and nothing more.

    Args:
        refused: told which batches of the spool the bus will never take.
        uniform: from [0, 1), for the pauses between tries.
        time_ns: since the epoch.
    """

    def __init__(
        self,
        bus: Appender,
        spool: Spool,
        refused: Callable[[Sequence[Message]], None],
        *,
        patience_s: float = PATIENCE_S,
        uniform: Callable[[], float] = random.random,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bus = bus
        self._patient = PatientBus(bus, patience_s)
        self._spool = spool
        self._refused = refused
        self._uniform = uniform
        self._time_ns = time_ns
        self._changed = threading.Condition()
        self._has_work = False
        self.is_open = False
        """Whether the spool was there to be written to, so far."""
        self._is_away = False
        self._is_stopping = False
        self._failures = 0
        self._trouble = ""
        self._refusal = ""
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        """Begin to deliver what the spool holds, and to take into it. Once."""
        self._thread.start()

    def produce(self, messages: Sequence[Message]) -> None:
        """All or none, durable on return: on the bus or in the spool. For one thread.

        Raises BusUnavailableError when neither takes them, and what the bus has against them.
        """
        if self._is_away and self._keep(messages):
            return
        try:
            self._patient.produce(messages)
        except BusUnavailableError as error:
            if not self._keep(messages):
                raise
            if not self._is_away:
                log.warning("%s (%s)", AWAY, error)
            self._is_away = True
        else:
            self._is_away = False
            self._refusal = ""

    def hurry(self) -> None:
        """The end is near: what the bus does not take at once goes to the spool."""
        self._patient.hurry()

    def close(self, timeout_s: float) -> None:
        """Stop delivering; the thread gives the spool free at its end. What it holds is for the next start. Idempotent."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def status(self) -> dict[str, int | float | str]:
        """Figures of the spool; `note` is a sentence when the bus is away or the spool cannot be used. From any thread."""
        spool = self._spool
        oldest = spool.oldest_time
        return {
            "spool_bytes": spool.bytes_held,
            "spool_batches": spool.batches_held,
            "spool_unread_segments": spool.segments_unread,
            "spool_oldest_seconds": 0.0 if oldest is None else max(0.0, self._time_ns() / 1e9 - oldest),
            "spool_bad_segments_total": spool.bad_segments,
            "spool_torn_bytes_total": spool.torn_bytes,
            "note": self._trouble or self._refusal or (AWAY if self._is_away else ""),
        }

    def _keep(self, messages: Sequence[Message]) -> bool:
        """Whether the spool has them now."""
        if not self.is_open:  # while a slow disk opens it, nobody waits for that
            return False
        for message in messages:
            if message.size_bytes > MESSAGE_BYTES_MAX:  # said now, while whoever sent it can hear it
                raise OversizeError(message.topic, message.size_bytes, MESSAGE_BYTES_MAX)
        try:
            self._spool.append(messages)
        except HeliographError as error:
            if not (self._trouble or self._refusal):
                log.warning(_NO_SPOOL, error)
            self._refusal = str(error)
            return False
        self._refusal = ""
        with self._changed:
            self._has_work = True
            self._changed.notify_all()
        return True

    def _run(self) -> None:
        with closing(self._spool):
            while not self._is_stopping:
                pause_s = self._turn()
                with self._changed:
                    if pause_s is None:
                        self._changed.wait_for(lambda: self._has_work or self._is_stopping)
                    else:
                        self._changed.wait_for(lambda: self._is_stopping, pause_s)

    def _turn(self) -> float | None:
        """Deliver a segment; how many seconds to wait then, None: until there is something to deliver."""
        self._has_work = False  # before the look, so that what comes meanwhile is seen in the next turn
        try:
            self._spool.open()
            self.is_open = True
            segment = self._spool.oldest()
        except SpoolError as error:
            if str(error) != self._trouble:
                log.warning(_NO_SPOOL, error)
            self._trouble = str(error)
            return _REOPEN_S
        self._trouble = ""
        if segment is None:
            self._is_away = False  # nothing is left to try the bus with: the next batch does
            return None
        try:
            self._delivered(segment, deliver(self._bus, segment.messages))
        except Exception as error:  # whatever it is, the segment is kept and tried again
            return self._failed(error)
        return 0.0

    def _delivered(self, segment: Segment, refused: Sequence[Message]) -> None:
        if refused:
            log.warning("the bus will never take %d batches of the spool: they are dropped", len(refused))
            self._refused(refused)
        if segment.is_damaged:
            log.warning("the spool's segment %s is damaged: what could be read of it is delivered", segment.name)
        if self._is_away:
            log.info("the bus is back: the spool is being delivered")
        self._failures = 0
        self._is_away = False
        try:
            self._spool.done(segment)
        except SpoolError as error:
            log.warning("%s", error)

    def _failed(self, error: Exception) -> float:
        """How many seconds to wait before the next try."""
        if not self._failures:
            log.warning("the spool cannot be delivered now: %s: %s", type(error).__name__, error)
        if not isinstance(error, BusUnavailableError):
            self._trouble = f"the spool cannot be delivered: {error}"
        self._failures += 1
        if self._failures % _FAILURES_OF_ONE == 0:
            self._is_away = False  # it may be this segment alone that fails: the next batch tells
        return self._uniform() * min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2.0 ** min(self._failures, 10))
