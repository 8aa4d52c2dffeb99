"""Errors of the time-series store.

TsdbError
├── StoreUnavailableError   the store's fault: it cannot be read or written now; retry later
├── CorruptBlockError       the store's fault: bytes that are not what was written
└── RecordError             the record's fault: goes to the dead letters
"""


class TsdbError(Exception):
    """Anything this package raises."""


class StoreUnavailableError(TsdbError):
    """The store cannot be read or written now; nothing was lost, retry later."""


class CorruptBlockError(TsdbError):
    """A stored block or series set fails its checksum or its own arithmetic."""


class RecordError(TsdbError):
    """The record itself can never be stored; `reason` is a stable word for the dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
