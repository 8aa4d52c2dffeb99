"""The spool keeps what it acknowledged, in order, within its limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from heliograph.errors import OversizeError, SpoolFullError, SpoolUnavailableError
from heliograph.message import Message
from heliograph.spool import Spool, inspect
from heliograph.spool_segment import FRAME_BYTES_MAX, HEADER
from tests.client.batches import sequences
from tests.client.spool_child import numbered
from tests.client.spools import FRAME, MIB, Drops, Make, append, drain, files

# The life of a segment


def test_what_is_appended_comes_back_in_order_and_again_until_it_is_done(make: Make) -> None:
    spool = make()
    append(spool, 0, 1, 2, 3, 4, 5, 6)
    first = spool.oldest()
    assert first is not None
    assert first == spool.oldest()
    assert first.messages == tuple(numbered(n).again() for n in range(3))
    spool.done(first)
    spool.done(first)
    assert drain(spool) == [3, 4, 5, 6]
    assert (spool.bytes_held, spool.batches_held, spool.oldest_time) == (0, 0, None)


def test_reading_seals_the_segment_that_is_appended_to(make: Make) -> None:
    spool = make()
    append(spool, 0)
    segment = spool.oldest()
    append(spool, 1)
    assert segment is not None
    assert sequences(segment.messages) == [0]
    spool.done(segment)
    assert drain(spool) == [1]


def test_an_append_is_never_split_between_segments(folder: Path, make: Make) -> None:
    spool = make()
    append(spool, 0)
    spool.append([numbered(n) for n in range(1, 11)])
    assert [figures.batches for figures in inspect(folder)] == [1, 10]
    spool.append([])
    assert drain(spool) == list(range(11))


def test_the_next_process_finds_all_and_appends_to_a_file_of_its_own(folder: Path, make: Make) -> None:
    append(make(), 0, 1)
    spool = make()
    assert (spool.segments_unread, spool.batches_held, spool.oldest_time) == (1, 0, 60.0)
    append(spool, 2)
    assert len(files(folder)) == 2
    spool.oldest()
    assert (spool.segments_unread, spool.batches_held) == (0, 3)
    assert drain(spool) == [0, 1, 2]


def test_opening_reads_no_segment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = make()
    append(spool, *range(30))
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    spool = make()
    assert spool.segments_unread == 10
    assert spool.bytes_held == 30 * FRAME + 10 * len(HEADER)


def test_making_a_spool_touches_nothing_and_unopened_it_says_so(tmp_path: Path, drops: Drops) -> None:
    spool = Spool(tmp_path / "a" / "b", bytes_max=MIB, dropped=drops)
    for act in (spool.oldest, lambda: append(spool, 0)):
        with pytest.raises(SpoolUnavailableError, match="not open"):
            act()
    spool.close()
    assert not list(tmp_path.iterdir())
    spool.open()
    spool.open()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    spool.close()
    spool.close()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path, drops: Drops) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolUnavailableError, match="cannot be made"):
        Spool(tmp_path / "file" / "spool", bytes_max=MIB, dropped=drops).open()
    with pytest.raises(SpoolUnavailableError, match="cannot be read"):
        inspect(tmp_path / "nowhere")


# Limits


def test_over_the_limit_the_oldest_segments_are_dropped_and_named(make: Make, drops: Drops) -> None:
    spool = make(bytes_max=8 * FRAME)
    append(spool, *range(9))
    assert (drops.numbers, drops.reasons) == ([0, 1, 2], {"spool_full"})
    assert drain(spool) == [3, 4, 5, 6, 7, 8]


def test_what_is_dropped_is_named_before_its_file_goes(tmp_path: Path) -> None:
    def fail(messages: Sequence[Message], reason: str) -> None:
        raise LookupError(f"{len(files(tmp_path))} file")

    spool = Spool(tmp_path, bytes_max=3 * FRAME, free_bytes_min=0, dropped=fail)
    spool.open()
    append(spool, 0, 1)
    with pytest.raises(LookupError, match="1 file"):
        append(spool, 2)
    assert drain(spool) == [0, 1]
    spool.close()


def test_a_segment_dropped_while_it_is_sent_can_still_be_done(make: Make, drops: Drops) -> None:
    spool = make(bytes_max=8 * FRAME)
    append(spool, *range(6))
    segment = spool.oldest()
    append(spool, 6, 7)
    assert drops.numbers == [0, 1, 2]
    assert segment is not None
    spool.done(segment)
    assert drain(spool) == [3, 4, 5, 6, 7]


def test_more_than_the_spool_can_ever_hold_drops_nothing(make: Make, drops: Drops) -> None:
    spool = make(bytes_max=4 * FRAME)
    append(spool, 0, 1)
    with pytest.raises(SpoolFullError) as caught:
        spool.append([numbered(n) for n in range(2, 6)])
    assert (caught.value.size_bytes, caught.value.bytes_max) == (4 * FRAME, 4 * FRAME)
    with pytest.raises(OversizeError):
        spool.append([numbered(2, FRAME_BYTES_MAX)])
    assert not drops.numbers
    assert drain(spool) == [0, 1]


def test_a_disk_that_others_fill_gets_its_bytes_back(make: Make, drops: Drops) -> None:
    free = [MIB]
    spool = make(free_bytes=lambda _: free[0])
    append(spool, 0, 1)
    free[0] = FRAME
    with pytest.raises(SpoolFullError):
        append(spool, 2)
    assert drops.numbers == [0, 1]
    assert spool.bytes_held == 0
    free[0] = MIB
    append(spool, 3)
    assert drain(spool) == [3]


def test_a_new_limit_holds_from_the_next_append(make: Make, drops: Drops) -> None:
    append(make(), *range(12))
    spool = make(bytes_max=8 * FRAME)
    append(spool, 12)
    assert drops.numbers == [0, 1, 2, 3, 4, 5]
    assert drain(spool) == list(range(6, 13))
