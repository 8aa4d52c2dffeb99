"""A segment of the spool: what its bytes mean (docs/formats/spool.md)."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import google_crc32c

from .errors import DecodeError, OversizeError
from .message import Message, decode_bundle, encode_bundle

HEADER: Final = struct.pack(">4sI", b"HGSP", 1)
"""Magic and version."""
FRAME_BYTES_MAX: Final = 2 * 1024 * 1024
"""Of a frame's payload; a batch on the bus has at most half of it."""

_LENGTH: Final = struct.Struct(">I")
_PREFIX: Final = struct.Struct(">II")
_START: Final = re.compile(rb"(?=\x00[\x00-\x20].{6}\x00{3}[\x01-\xf9][\w.-])", re.DOTALL)
"""A length, any CRC, and a topic as Kafka allows it: where a frame may begin."""
_STARTS_MAX: Final = 1024  # content made to look like frames must not keep a reader busy for ever


@dataclass(frozen=True, slots=True)
class Contents:
    """What a segment's bytes hold."""

    messages: tuple[Message, ...]
    torn_bytes: int
    """At the end: a write that never came to its end."""
    bad_frames: int
    """Places where something else stands than was written."""
    is_headed: bool
    """Whether the file begins as a segment of this version does."""

    @property
    def is_damaged(self) -> bool:
        """Whether there is more wrong than a torn end."""
        return self.bad_frames > 0 or not self.is_headed


UNREADABLE: Final = Contents((), 0, 0, False)
"""Stands for a file that the disk does not give back."""


def encode_frames(messages: Sequence[Message]) -> bytes:
    """One frame per message; raises OversizeError when one is larger than a frame may be."""
    out: list[bytes] = []
    for message in messages:
        payload = encode_bundle([message])
        if len(payload) > FRAME_BYTES_MAX:
            raise OversizeError(f"a batch of {len(payload)} bytes; a frame of the spool holds {FRAME_BYTES_MAX}")
        out += (_PREFIX.pack(len(payload), _crc(payload)), payload)
    return b"".join(out)


def scan(data: bytes) -> Contents:
    """All whole frames of a segment, those after a damaged place too. Never raises."""
    messages: list[Message] = []
    bad_frames = 0
    at = len(HEADER)
    while at < len(data):
        found = _frame_at(data, at)
        if found is not None:
            messages.append(found[0])
            at = found[1]
            continue
        resumed_at = _resume_at(data, at)
        if resumed_at is None:
            break
        bad_frames += 1
        at = resumed_at
    return _judged(data, at, messages, bad_frames)


def _judged(data: bytes, end: int, messages: Sequence[Message], bad_frames: int) -> Contents:
    if _is_cut_header(data):
        return Contents((), len(data), 0, True)
    rest = data[end:]
    torn_bytes = len(rest) if _is_torn(rest) else 0
    bad_frames += 1 if len(rest) > torn_bytes else 0
    return Contents(tuple(messages), torn_bytes, bad_frames, data.startswith(HEADER))


def _is_cut_header(data: bytes) -> bool:
    return (len(data) < len(HEADER) and HEADER.startswith(data)) or not data.strip(b"\0")


def _is_torn(rest: bytes) -> bool:
    """Whether a crash explains these last bytes of a file."""
    if len(rest) < _PREFIX.size or not rest.strip(b"\0"):
        return True
    (length,) = _LENGTH.unpack_from(rest)
    is_short = len(rest) - _PREFIX.size < length <= FRAME_BYTES_MAX
    # When the message is whole all the same, then not its end is missing but its length is wrong.
    return is_short and _message(rest[_PREFIX.size :]) is None


def _frame_at(data: bytes, at: int) -> tuple[Message, int] | None:
    """The message of the good frame that begins there, and where the next one begins."""
    end = _end_of(data, at)
    if end is None:
        return None
    payload = data[at + _PREFIX.size : end]
    if _crc(payload) != _PREFIX.unpack_from(data, at)[1]:
        return None
    message = _message(payload)
    return None if message is None else (message, end)


def _end_of(data: bytes, at: int) -> int | None:
    """Where the frame ends by its length, if that is possible."""
    if at + _PREFIX.size > len(data):
        return None
    (length,) = _LENGTH.unpack_from(data, at)
    end = at + _PREFIX.size + int(length)
    return end if 0 < length <= FRAME_BYTES_MAX and end <= len(data) else None


def _resume_at(data: bytes, at: int) -> int | None:
    """Where to go on after the bad frame that begins at `at`; None when nothing good follows."""
    end = _end_of(data, at)
    # Where length and content agree on the end, nothing within is looked at: a batch may hold bytes that look like a frame.
    if end is not None and _message(data[at + _PREFIX.size : end]) is not None:
        return end
    starts = itertools.islice(_START.finditer(data, at + 1), _STARTS_MAX)
    return next((s.start() for s in starts if _frame_at(data, s.start()) is not None), None)


def _message(payload: bytes) -> Message | None:
    try:
        messages = decode_bundle(payload)
    except DecodeError:
        return None
    return messages[0] if len(messages) == 1 else None


def _crc(payload: bytes) -> int:
    # The length is covered too: zeros are no frame then, and a wrong length cannot pass.
    return int(google_crc32c.extend(google_crc32c.value(_LENGTH.pack(len(payload))), payload))
