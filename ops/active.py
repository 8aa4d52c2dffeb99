"""Which of several processes of a role that must not work twice is the active one: the owner of a partition, by a group of the bus."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from bus.errors import BusError
from bus.port import Bus, Consumer, Listener, Partitions, TopicPartition
from heliograph import contracts

_log = structlog.get_logger()

PATIENCE_S: Final = 15.0
"""How long the group may take to answer before this process works anyway."""
_TURN_S: Final = 1.0
_TOKEN: Final = TopicPartition(contracts.LOGS_TOPIC, 0)


class Active:
    """Asks from a thread of its own, so that a bus that is slow or away never holds up the work.

    Working twice is better than nobody working: with the bus away whoever was active stays so, and who never heard of the
    group becomes it after PATIENCE_S.
    """

    def __init__(
        self, open_bus: Callable[[], Bus], group: str, member: str, stop: threading.Event, clock: Callable[[], float]
    ) -> None:
        self._open_bus = open_bus
        self._group = group
        self._member = member
        self._stop = stop
        self._clock = clock
        self._since_s = clock()
        self._bus: Bus | None = None
        self._is_owner: bool | None = None
        self._was_in_trouble = False
        self._thread = threading.Thread(target=self._run, name="active", daemon=True)
        self._thread.start()

    def is_active(self) -> bool:
        """Whether the work is this process'."""
        if self._is_owner is None:
            return self._was_in_trouble and self._clock() - self._since_s >= PATIENCE_S
        return self._is_owner

    def _run(self) -> None:
        consumer: Consumer | None = None
        while not self._stop.is_set():
            try:
                consumer = consumer or self._join()
                consumer.poll(0.0, 1)
                self._was_in_trouble = False
            except BusError as error:
                if not self._was_in_trouble:
                    _log.warning("group_unavailable", group=self._group, reason=str(error))
                self._was_in_trouble = True
            self._stop.wait(_TURN_S)
        if consumer is not None:
            consumer.close()
        if self._bus is not None:
            self._bus.close()

    def _join(self) -> Consumer:
        joined: list[Consumer] = []

        def assigned(partitions: Partitions) -> None:
            # Nothing is read: the partitions only say whose turn it is.
            for consumer in joined:
                consumer.pause(partitions)
            self._is_owner = _TOKEN in partitions or bool(self._is_owner)

        def revoked(partitions: Partitions) -> None:
            if _TOKEN in partitions:
                self._is_owner = False

        joined.append(self._open_bus().consumer(self._group, [_TOKEN.topic], self._member, Listener(assigned, revoked)))
        return joined[0]
