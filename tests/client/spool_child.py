"""Numbered batches; and, run as a program, a process that spools them and prints each number when it is durable.

python -m tests.client.spool_child <folder> <first number>
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import google_crc32c

from heliograph.identity import BatchId
from heliograph.message import Headers, Message
from heliograph.spool import Spool

_ROOT = Path(__file__).parents[2]
_PRODUCER = bytes(range(16))


def numbered(number: int, body_bytes: int = 40) -> Message:
    """A batch whose sequence is the number."""
    body = f"{number:8}".encode() * (body_bytes // 8)
    headers = Headers(
        "default", "shop", BatchId(_PRODUCER, number), 0, 1, 0, 0, bytes(16), google_crc32c.value(body), ()
    )
    return Message("logs", 3, headers.encode(), body)


class Child:
    """Such a process. It is killed at the end, wherever it is by then."""

    def __init__(self, folder: Path, first: int) -> None:
        command = [sys.executable, "-m", "tests.client.spool_child", str(folder), str(first)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT)

    def numbers(self, count: int) -> list[int]:
        """The next numbers that it acknowledges."""
        assert self._process.stdout is not None
        return [int(self._process.stdout.readline()) for _ in range(count)]

    def kill(self) -> list[int]:
        """All that it acknowledged besides."""
        assert self._process.stdout is not None
        with self._process:
            self._process.kill()
            return [int(line) for line in self._process.stdout if line.endswith("\n")]


def _no_drop(messages: Sequence[Message], reason: str) -> None:
    raise AssertionError(f"{len(messages)} batches dropped: {reason}")


def main() -> None:
    """Append one to three batches at a time, for ever."""
    spool = Spool(Path(sys.argv[1]), bytes_max=1 << 30, segment_bytes=4096, free_bytes_min=0, dropped=_no_drop)
    spool.open()
    first = int(sys.argv[2])
    for count in itertools.cycle((1, 2, 3)):
        numbers = range(first, first + count)
        spool.append([numbered(n, 400) for n in numbers])
        print("\n".join(map(str, numbers)), flush=True)
        first += count


if __name__ == "__main__":
    main()
