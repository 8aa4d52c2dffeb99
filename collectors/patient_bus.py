"""The bus with an end to the waiting: what takes longer counts as away."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

from bus.errors import BusUnavailableError
from collectors.port import Appender
from heliograph.message import Message

PATIENCE_S: Final = 4.0
"""Less than a receiver's request may wait for the outbox."""
_HURRIED_S: Final = 0.5


class PatientBus:
    """Gives a call up after `patience_s`, although it goes on: the bus may yet take its messages. For one thread.

    While a call that was given up has not ended, every other fails at once, so that never more than one is under way.
    """

    def __init__(self, bus: Appender, patience_s: float = PATIENCE_S) -> None:
        self._bus = bus
        self._patience_s = patience_s
        self._call: Future[None] = Future()
        self._call.set_result(None)
        self._hurry: Future[None] = Future()

    def produce(self, messages: Sequence[Message]) -> None:
        """As Bus.produce; raises BusUnavailableError when there is no answer in time, too."""
        if not self._call.done():
            raise BusUnavailableError("the bus has not answered an earlier call yet")
        call: Future[None] = Future()
        self._call = call
        try:
            threading.Thread(target=self._run, args=(call, messages), name="produce", daemon=True).start()
        except RuntimeError as error:  # the system gives no thread now
            call.set_result(None)
            raise BusUnavailableError(f"the bus cannot be called: {error}") from error
        concurrent.futures.wait((call, self._hurry), self._patience_s, concurrent.futures.FIRST_COMPLETED)
        if self._hurry.done():
            concurrent.futures.wait((call,), _HURRIED_S)
        if not call.done():
            raise BusUnavailableError("the bus does not answer in time")
        call.result()

    def hurry(self) -> None:
        """From now on half a second must do, for the call that is under way too. From any thread; idempotent."""
        if not self._hurry.done():
            self._hurry.set_result(None)

    def _run(self, call: Future[None], messages: Sequence[Message]) -> None:
        try:
            self._bus.produce(messages)
        except BaseException as error:  # it belongs to whoever waits
            call.set_exception(error)
        else:
            call.set_result(None)
