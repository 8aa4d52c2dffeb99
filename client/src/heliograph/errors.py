"""Errors of the client.

HeliographError
├── ContractError          the caller's or the producer's fault: the data break a contract
│   ├── EncodeError        a record that no schema of ours can hold
│   ├── DecodeError        bytes that are not what their schema says
│   └── OversizeError      larger than a batch may ever be
└── TransportError         the peer's fault: nothing is known to be stored
    ├── UnavailableError   try again later; `retry_after_s` when the peer said so
    └── RefusedError       the peer will never take these bytes
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
