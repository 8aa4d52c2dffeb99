"""Errors of the time-series store.

TsdbError
├── TsdbConfigError         the operator's fault: how the store is to be reached, or what it is; found at start
├── StoreUnavailableError   the store's fault: it cannot be read or written now; retry later
│   └── RowTooLargeError    a row is over the store's limit: write a shorter range of the log
├── CorruptBlockError       the store's fault: bytes that are not what was written
└── RecordError             the record's fault: goes to the dead letters
"""


class TsdbError(Exception):
    """Anything this package raises."""


class TsdbConfigError(TsdbError):
    """Settings, rights or the server itself must be changed before the store can be used; one sentence says what."""


class StoreUnavailableError(TsdbError):
    """The store cannot be read or written now; nothing was lost, retry later."""


class RowTooLargeError(StoreUnavailableError):
    """A row is larger than the store takes; nothing of its flush was written. The same range of the log will never fit."""

    def __init__(self, what: str, size_bytes: int, bytes_max: int) -> None:
        super().__init__(
            f"{what} has {size_bytes:,} bytes, and the store takes at most {bytes_max:,}: cut the log's range shorter"
        )
        self.size_bytes = size_bytes
        self.bytes_max = bytes_max


class CorruptBlockError(TsdbError):
    """A stored block or series set fails its checksum or its own arithmetic."""


class RecordError(TsdbError):
    """The record itself can never be stored; `reason` is a stable word for the dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
