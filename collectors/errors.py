"""Errors of the agent.

CollectorError
├── OutboxFullError        the bus is behind: more is held than the limit allows; try again later
├── OutboxClosedError      the agent is stopping; nothing more is taken
├── JournalError           the state directory's fault: files.db cannot be used
├── DigestsError           the state directory's fault: digests.db cannot be used
├── ReceiverError          the setting's fault: the receiver cannot listen as it is told to
└── RequestError           the sender's fault: a body that can never be taken, with the HTTP status that says so
    └── BusyError          nobody's fault: too much at once, or the bus is away; the sender tries again
"""

from __future__ import annotations


class CollectorError(Exception):
    """Anything this package raises."""


class OutboxFullError(CollectorError):
    """`bytes_held` of at most `bytes_max` wait for the bus already."""

    def __init__(self, bytes_held: int, bytes_max: int) -> None:
        super().__init__(f"{bytes_held} bytes wait for the bus already, at most {bytes_max} may")
        self.bytes_held = bytes_held
        self.bytes_max = bytes_max


class OutboxClosedError(CollectorError):
    """The agent is stopping; what was not delivered is known not to be acknowledged."""


class JournalError(CollectorError):
    """The journal of followed files is damaged, or another agent uses it."""


class DigestsError(CollectorError):
    """The memory of taken requests cannot be read or written."""


class ReceiverError(CollectorError):
    """The receiver cannot listen as it is told to."""


class RequestError(CollectorError):
    """A request that can never be taken as it is."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class BusyError(RequestError):
    """A request that may be taken after `retry_after_s` seconds."""

    def __init__(self, status: int, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(status, detail)
        self.retry_after_s = retry_after_s
