"""From the spool to the bus: a segment's batches, and what is not delivered for their own fault."""

from __future__ import annotations

from collections.abc import Sequence

from bus.errors import BusConfigError, BusError, BusUnavailableError
from collectors.port import Appender
from heliograph.message import Message


def deliver(bus: Appender, messages: Sequence[Message]) -> list[Message]:
    """Put all on the bus; returns those that it will never take.

    Raises BusUnavailableError, and whatever else is not a batch's fault: then any of them may be on the bus.
    """
    try:
        bus.produce(messages)
    except (BusUnavailableError, BusConfigError):
        raise
    except BusError:  # one of them is at fault, and must not hold up the others
        return [message for message in messages if not _is_taken(bus, message)]
    return []


def _is_taken(bus: Appender, message: Message) -> bool:
    try:
        bus.produce([message])
    except (BusUnavailableError, BusConfigError):
        raise
    except BusError:
        return False
    return True
