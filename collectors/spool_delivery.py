"""From the spool to the bus: a segment's batches, and what is not delivered for their own fault."""

from __future__ import annotations

from collections.abc import Sequence

from bus.errors import OversizeError, UnknownTopicError
from collectors.port import Appender
from heliograph import contracts
from heliograph.message import Message


def deliver(bus: Appender, messages: Sequence[Message]) -> list[Message]:
    """Put all on the bus; returns those that it will never take.

    Raises BusUnavailableError, and whatever else is not a batch's fault: then any of them may be on the bus.
    """
    try:
        bus.produce(messages)
    except (OversizeError, UnknownTopicError):  # one of them is at fault, and must not hold up the others
        return [message for message in messages if not _is_taken(bus, message)]
    return []


def _is_taken(bus: Appender, message: Message) -> bool:
    try:
        bus.produce([message])
    except OversizeError:
        return False
    except UnknownTopicError:
        if _is_of_ours(message):  # a bus without a topic of ours is not the batch's fault
            raise
        return False
    return True


def _is_of_ours(message: Message) -> bool:
    topic = contracts.topics().get(message.topic)
    return topic is not None and message.partition < topic.partitions
