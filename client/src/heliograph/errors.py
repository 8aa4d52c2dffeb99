"""Errors of the client.

HeliographError
├── ContractError          the caller's or the producer's fault: the data break a contract
│   ├── EncodeError        a record that no schema of ours can hold
│   ├── DecodeError        bytes that are not what their schema says
│   └── OversizeError      larger than a batch may ever be
├── TransportError         the peer's fault: nothing is known to be stored
│   ├── UnavailableError   try again later; `retry_after_s` when the peer said so
│   └── RefusedError       the peer will never take these bytes
└── SpoolError             the disk's fault, or the limit's
    ├── SpoolUnavailableError   the folder or the disk cannot be used
    │   └── SpoolTakenError     another process has it
    └── SpoolFullError     no room, and nothing left to drop
"""

from __future__ import annotations


class HeliographError(Exception):
    """Anything this library raises."""


class ContractError(HeliographError):
    """The data break a contract; `reason` is a stable word for dead letters and counters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class EncodeError(ContractError):
    """A record that no schema of ours can hold."""


class DecodeError(ContractError):
    """Bytes that are not what their schema says."""


class OversizeError(ContractError):
    """Larger than a batch may ever be, even truncated."""

    def __init__(self, detail: str) -> None:
        super().__init__("oversize", detail)


class TransportError(HeliographError):
    """The batch is not known to be stored; sending the same bytes again is safe."""


class UnavailableError(TransportError):
    """The peer is away or busy; try again, after `retry_after_s` seconds when it said so."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class RefusedError(TransportError):
    """The peer will never take these bytes; `status` is its HTTP status or 0."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


class SpoolError(HeliographError):
    """The spool did not do what it was asked to."""


class SpoolUnavailableError(SpoolError):
    """The folder or the disk cannot be used."""


class SpoolTakenError(SpoolUnavailableError):
    """Another process has it."""


class SpoolFullError(SpoolError):
    """There is no room for `size_bytes`, and nothing is left that could be dropped for it."""

    def __init__(self, size_bytes: int, bytes_held: int, bytes_max: int) -> None:
        super().__init__(
            f"no room for {size_bytes} bytes: the spool holds {bytes_held} of at most {bytes_max}, or the disk is full"
        )
        self.size_bytes = size_bytes
        self.bytes_held = bytes_held
        self.bytes_max = bytes_max
