"""A spool to be opened again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliograph.spool import Spool
from tests.client.spools import FRAME, MIB, Drops, Make


@pytest.fixture
def drops() -> Drops:
    return Drops()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def make(folder: Path, drops: Drops) -> Iterator[Make]:
    """Opens spools on one folder; the one before is closed first."""
    made: list[Spool] = []

    def make(
        bytes_max: int = MIB, segment_bytes: int = 4 * FRAME, free_bytes: Callable[[Path], int] = lambda _: MIB
    ) -> Spool:
        for spool in made:
            spool.close()
        spool = Spool(
            folder, bytes_max=bytes_max, segment_bytes=segment_bytes, free_bytes_min=0, dropped=drops,
            free_bytes=free_bytes, time_ns=lambda: 60_000_000_000,
        )  # fmt: skip
        spool.open()
        made.append(spool)
        return spool

    yield make
    for spool in made:
        spool.close()
