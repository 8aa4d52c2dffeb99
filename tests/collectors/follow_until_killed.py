"""A process that follows files onto the embedded bus and kills itself at the n-th passage of one point."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bus.sqlite import SqliteBus
from collectors.file_follow import FollowConfig
from collectors.file_journal import Journal
from collectors.files import FileSource
from collectors.outbox import Outbox
from heliograph.identity import ProducerIdentity
from heliograph.message import Message

POINTS = ("before_produce", "after_produce", "after_commit", "never")


class DeadlyBus(SqliteBus):
    """Dies before or after the append: after it, the bus has acknowledged and nobody has heard."""

    def __init__(self, path: Path, point: str, passages: int) -> None:
        super().__init__(path)
        self._point = point
        self._left = itertools.count(passages, -1)

    def produce(self, messages: Sequence[Message]) -> Sequence[int]:
        if self._point == "before_produce":
            self.passed()
        offsets = super().produce(messages)
        if self._point == "after_produce":
            self.passed()
        return offsets

    def passed(self) -> None:
        if next(self._left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, point: str, passages: int) -> None:
    bus = DeadlyBus(folder / "bus.db", point, passages)
    commit = Journal.commit

    def deadly_commit(self: Journal, *args: Any) -> None:
        commit(self, *args)
        bus.passed()

    if point == "after_commit":
        Journal.commit = deadly_commit  # type: ignore[method-assign, assignment]
    follow = [FollowConfig(str(folder / "logs" / "*.log"))]
    outbox = Outbox(bus, linger_s=0.0)
    source = FileSource(follow, folder / "agent" / "files.db", outbox, ProducerIdentity().mint, hostname="h")
    source.run(threading.Event(), lambda: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
