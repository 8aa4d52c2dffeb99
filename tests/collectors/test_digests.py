from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.digests import KEEP_S, Digests
from collectors.errors import DigestsError


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def digests(tmp_path: Path, clock: Clock) -> Iterator[Digests]:
    digests = Digests.open(tmp_path / "digests.db", clock, rows_max=100, sweep_every=10)
    yield digests
    digests.close()


def test_a_digest_is_remembered_for_ten_minutes_and_over_a_restart(
    tmp_path: Path, clock: Clock, digests: Digests
) -> None:
    assert not digests.has(b"a")
    digests.remember(b"a")
    other = Digests.open(tmp_path / "digests.db", clock)
    assert other.has(b"a")
    clock.now += KEEP_S + 1
    assert not other.has(b"a")
    other.close()


def test_many_threads_remember_together(digests: Digests) -> None:
    threads = [threading.Thread(target=lambda i=i: digests.remember(b"%d" % i)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert all(digests.has(b"%d" % i) for i in range(50))


def test_it_holds_so_many_and_forgets_the_oldest(clock: Clock, digests: Digests) -> None:
    for i in range(200):
        clock.now += 0.1
        digests.remember(b"%d" % i)
    assert digests.has(b"199")
    assert not digests.has(b"0")


def test_a_damaged_file_is_set_aside(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "d.db").write_bytes(b"damaged" * 2000)
    digests = Digests.open(tmp_path / "d.db", clock)
    digests.remember(b"a")
    assert digests.has(b"a")
    assert (tmp_path / "d.db.damaged").exists()
    digests.close()


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DigestsError, match="cannot be used"):
        Digests.open(tmp_path / "file" / "digests.db", clock)
