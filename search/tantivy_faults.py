"""Whatever Tantivy raises, as the port's errors; and which of it means that the files themselves are broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.port import SearchUnavailableError

_BROKEN = (
    "Data corrupted",
    "FileDoesNotExist",
    "InvalidData",
    "Unsupported dictionary",
    "schema does not match",
    "IncompatibleIndex",
    "PanicException",
)
_ROOM_BYTES_MIN = 16 * 1024 * 1024


@contextmanager
def store_faults(doing: str) -> Iterator[None]:
    """Turn the engine's failures into SearchUnavailableError; a panic of the engine is no Exception, but one of them."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise SearchUnavailableError(f"cannot {doing}: {error}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise SearchUnavailableError(f"cannot {doing}: PanicException: {error}") from error


def is_panic(error: BaseException) -> bool:
    """Whether the engine panicked: it raises a class that has no importable name."""
    return type(error).__name__ == "PanicException"


def is_broken(error: BaseException) -> bool:
    """Whether the error says that the files are damaged, rather than out of reach."""
    text = f"{type(error).__name__}: {error}"
    return any(word in text for word in _BROKEN)


def is_full(root: Path) -> bool:
    """Whether a failure there is for want of room: the engine may say no more than that a thread of it was killed."""
    try:
        return shutil.disk_usage(root).free < _ROOM_BYTES_MIN
    except OSError:
        return False
