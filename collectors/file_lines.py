"""Cutting lines out of a byte range, purely: the same bytes give the same lines, whenever and however often they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LINE_BYTES_MAX = 128 * 1024
"""Of a longer line only this much is kept."""
SPAN_BYTES_MAX = 64 * 1024 * 1024
"""A line that has no end after this much is cut into two."""
_INVALID_BYTES_MAX = LINE_BYTES_MAX // 3  # each invalid byte becomes a mark of three
_CHUNK_BYTES = 256 * 1024
_BOUNDARY_BYTES = 3  # a cut through a character leaves at most three of its bytes

ReadAt = Callable[[int, int], bytes]
"""(offset, size) → bytes, fewer only at the end of the file."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end."""

    text: str
    invalid: bool
    """Whether bytes that are not UTF-8 were replaced."""
    truncated_bytes: int
    """Cut off at its end."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Lines of the range [first, next)."""

    first: int
    lines: tuple[Line, ...]
    next: int
    """Where the next cut starts."""
    searched: int
    """[next, searched) is known to hold no newline."""


def cut_lines(
    read_at: ReadAt, first: int, end: int, *, flush: bool, bytes_max: int | None, line_cost: int = 0, searched: int = 0
) -> Cut:
    """Whole lines of [first, end), empty ones left out, until their encoded size passes `bytes_max`.

    With `flush` the last line needs no newline. `line_cost` is what each line adds besides its text; `searched` is a former
    cut's. Never holds more of a line than LINE_BYTES_MAX and a chunk.
    """
    lines: list[Line] = []
    size = 0
    at = first
    while at < end:
        chunk = read_at(at, min(_CHUNK_BYTES, end - at))
        start = 0
        while (newline := chunk.find(b"\n", start)) >= 0:
            line = _line(chunk[start:newline], newline - start)
            if line is not None:
                cost = line_cost + len(line.text.encode())
                if lines and bytes_max is not None and size + cost > bytes_max:
                    return Cut(first, tuple(lines), at + start, at + start)
                size += cost
                lines.append(line)
            start = newline + 1
        at += start
        if not chunk:
            break
        if start:
            continue
        stop, found = _line_end(read_at, at, max(at + len(chunk), searched), end)
        if not found and not flush and stop - at < SPAN_BYTES_MAX:
            return Cut(first, tuple(lines), at, stop)
        if lines and bytes_max is not None:
            return Cut(first, tuple(lines), at, at)
        line = _line(chunk[: stop - at], stop - at)
        if line is not None:
            size += line_cost + len(line.text.encode())
            lines.append(line)
        at = stop + found
    return Cut(first, tuple(lines), at, at)


def _line_end(read_at: ReadAt, first: int, at: int, end: int) -> tuple[int, bool]:
    """Where the line that starts at `first` ends, and whether by a newline; [first, at) is known to hold none."""
    limit = min(end, first + SPAN_BYTES_MAX)
    while at < limit:
        chunk = read_at(at, min(_CHUNK_BYTES, limit - at))
        if not chunk:
            break
        newline = chunk.find(b"\n")
        if newline >= 0:
            return at + newline, True
        at += len(chunk)
    return min(at, limit), False


def _line(head: bytes, length: int) -> Line | None:
    """The line that starts with `head` and has `length` bytes; none when it is empty."""
    kept = head[:LINE_BYTES_MAX]
    if len(kept) == length:
        kept = kept.removesuffix(b"\r")
        length = len(kept)
    if not kept:
        return None
    try:
        return Line(kept.decode(), False, length - len(kept))
    except UnicodeDecodeError as error:
        if len(kept) < length and error.start >= len(kept) - _BOUNDARY_BYTES:
            return Line(kept[: error.start].decode(), False, length - error.start)
    kept = kept[:_INVALID_BYTES_MAX]
    return Line(kept.decode("utf-8", "replace"), True, length - len(kept))
