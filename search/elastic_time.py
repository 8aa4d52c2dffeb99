"""Nanoseconds since the epoch as Elasticsearch's date_nanos spells them, and back; exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

TIME_NS_MAX: Final = 2**63 - 1
"""2262-04-11T23:47:16.854775807Z, the last that date_nanos holds; the first is 1970."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NANOS_PER_S: Final = 1_000_000_000


def spelled(time_ns: int) -> str:
    """RFC 3339 in UTC with nine decimals."""
    seconds, nanos = divmod(time_ns, NANOS_PER_S)
    return f"{_second(seconds)}.{nanos:09d}Z"


def parsed(text: str) -> int:
    """The inverse of spelled(); raises ValueError for anything else."""
    if len(text) != 30 or text[19] != "." or text[29] != "Z":
        raise ValueError(f"no time with nine decimals: {text[:40]!r}")
    return _seconds(text[:19]) * NANOS_PER_S + int(text[20:29])


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def _seconds(text: str) -> int:
    found = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int((found - _EPOCH).total_seconds())
