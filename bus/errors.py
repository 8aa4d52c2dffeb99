"""Errors of the bus.

BusError
├── BusConfigError        the operator's fault: it would never work; said at start, never in flight
├── BusUnavailableError   the bus' fault: it cannot be read or written now; retry later
├── FencedError           the group has moved on: this consumer no longer owns what it commits
├── OversizeError         the caller's fault: the message is larger than the bus takes
├── UnknownTopicError     the caller's fault: no such topic or partition
└── OffsetGapError        the log no longer holds what the group was to read next
"""


class BusError(Exception):
    """Anything this package raises."""


class BusConfigError(BusError):
    """The bus answers, but not to us or not as we need it: its settings or ours must change before a retry makes sense."""


class BusUnavailableError(BusError):
    """The bus cannot be read or written now; nothing of the call is known to be stored."""


class FencedError(BusError):
    """The group's generation has changed, or the partition is another member's; drop the work and poll again."""


class OversizeError(BusError):
    """The message is larger than the bus takes; `size_bytes` says how large."""

    def __init__(self, topic: str, size_bytes: int, bytes_max: int) -> None:
        super().__init__(f"a message of {size_bytes} bytes for {topic}: the bus takes at most {bytes_max}")
        self.topic = topic
        self.size_bytes = size_bytes
        self.bytes_max = bytes_max


class UnknownTopicError(BusError):
    """No such topic or partition; create_topics makes those of topics.yaml."""


class OffsetGapError(BusError):
    """The log starts after the offset that was to be read next: [expected, log_start) is gone."""

    def __init__(self, topic: str, partition: int, expected: int, log_start: int) -> None:
        super().__init__(f"{topic}/{partition}: offset {expected} is gone, the log starts at {log_start}")
        self.topic = topic
        self.partition = partition
        self.expected = expected
        self.log_start = log_start
