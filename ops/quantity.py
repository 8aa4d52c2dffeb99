"""Durations and sizes as people write them: `15s`, `1h30m`, `10MiB`."""

from __future__ import annotations

import re
from typing import Final

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_UNIT_MS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]i?)?B")
_FACTOR: Final = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_TEXT_MAX: Final = 40


def duration_s(text: str) -> float:
    """Seconds, rounded to milliseconds; raises ValueError with what is expected."""
    if len(text) > _TEXT_MAX or not _DURATION.fullmatch(text):
        raise ValueError("a duration such as 15s, 500ms or 1h30m is expected")
    return round(sum(float(n) * _UNIT_MS[unit] for n, unit in _DURATION_PART.findall(text))) / 1000


def duration_text(seconds: float) -> str:
    """The shortest text of a duration: 5400.0 is `1h30m`; duration_s reads it back."""
    rest_ms = round(seconds * 1000)
    parts: list[str] = []
    for unit, unit_ms in _UNIT_MS.items():
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def size_bytes(text: str) -> int:
    """Bytes; raises ValueError with what is expected."""
    match = _SIZE.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if match is None:
        raise ValueError("a size such as 10MiB, 512KiB or 2GB is expected")
    return round(float(match[1]) * _FACTOR[match[2] or ""])


def size_text(count: int) -> str:
    """The shortest exact text of a size; size_bytes reads it back."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count and count % _FACTOR[unit] == 0:
            return f"{count // _FACTOR[unit]}{unit}B"
    return f"{count}B"
