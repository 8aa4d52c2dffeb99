"""What the tests of the spool share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from heliograph.message import Message
from heliograph.spool import Spool
from heliograph.spool_segment import encode_frames
from tests.client.batches import attempts, sequences
from tests.client.spool_child import numbered

MIB = 1024 * 1024
FRAME = len(encode_frames([numbered(0)]))
Make: TypeAlias = Callable[..., Spool]


class Drops:
    """What a spool gave up."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.reasons: set[str] = set()

    def __call__(self, messages: Sequence[Message], reason: str) -> None:
        self.numbers += sequences(messages)
        self.reasons.add(reason)


def drain(spool: Spool) -> list[int]:
    """The numbers of all batches, in one pass."""
    numbers: list[int] = []
    while (segment := spool.oldest()) is not None:
        assert set(attempts(segment.messages)) == {1}
        numbers += sequences(segment.messages)
        spool.done(segment)
    return numbers


def append(spool: Spool, *numbers: int) -> None:
    """Each in an append of its own."""
    for number in numbers:
        spool.append([numbered(number)])


def files(folder: Path, pattern: str = "*.seg*") -> list[Path]:
    return sorted(folder.glob(pattern))


def earlier(folder: Path, number: int) -> Path:
    """A file as an earlier process may have left it."""
    return folder / f"{number:012d}-{0:013d}.seg"
