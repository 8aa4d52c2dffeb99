"""A disk that refuses costs nothing that was acknowledged, and damage costs only the batches that it touches."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.errors import SpoolFullError, SpoolUnavailableError
from heliograph.message import Message, encode_bundle
from heliograph.spool import BAD_FILES_MAX, inspect
from heliograph.spool_folder import SegmentFigures
from heliograph.spool_segment import HEADER, Contents, encode_frames, scan
from tests.client.spool_child import numbered
from tests.client.spools import FRAME, Drops, Make, append, drain, earlier, files

# A disk that refuses


class Disk:
    """Writes fail with `error`, half of the bytes done, until `failures` are used up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures = 0
        self.error = errno.ENOSPC
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self._write)

    def refuse(self, name: str, error: int, patch: pytest.MonkeyPatch) -> None:
        """Another call of the system fails as long as the patch is in place."""
        patch.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError(error, os.strerror(error))))

    def _write(self, descriptor: int, data: bytes, offset: int) -> int:
        if not self.failures:
            return self._pwrite(descriptor, data[: len(data) // 2 + 1], offset)
        self.failures -= 1
        self._pwrite(descriptor, data[: len(data) // 2], offset)
        raise OSError(self.error, os.strerror(self.error))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def undamaged(folder: Path) -> bool:
    return all(not (f.torn_bytes or f.bad_frames) and f.is_headed for f in inspect(folder))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_drops_the_oldest_and_tries_again(
    folder: Path, make: Make, drops: Drops, disk: Disk, error: int
) -> None:
    spool = make()
    append(spool, *range(8))
    disk.failures, disk.error = 2, error
    append(spool, 8)
    assert drops.numbers == [0, 1, 2, 3, 4, 5]
    assert undamaged(folder)
    append(spool, 9)
    assert drain(spool) == [6, 7, 8, 9]


def test_a_disk_that_stays_full_takes_nothing_and_is_left_clean(
    folder: Path, make: Make, drops: Drops, disk: Disk
) -> None:
    spool = make()
    append(spool, 0, 1)
    disk.failures = 1000
    with pytest.raises(SpoolFullError):
        append(spool, 2)
    assert drops.numbers == [0, 1]
    assert (files(folder), spool.bytes_held, spool.batches_held) == ([], 0, 0)
    disk.failures = 0
    append(spool, 3)
    assert drain(spool) == [3]


def test_another_error_is_told_and_leaves_what_was_there(folder: Path, make: Make, drops: Drops, disk: Disk) -> None:
    spool = make()
    append(spool, 0)
    disk.failures, disk.error = 1, errno.EIO
    with pytest.raises(SpoolUnavailableError, match="cannot be used"):
        append(spool, 1)
    assert undamaged(folder)
    append(spool, 2)
    assert len(files(folder)) == 2
    assert not drops.numbers
    assert drain(spool) == [0, 2]


def test_a_segment_that_cannot_be_cut_back_is_abandoned(
    folder: Path, make: Make, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(segment_bytes=100 * FRAME)
    append(spool, 0)
    disk.failures, disk.error = 1, errno.EIO
    disk.refuse("ftruncate", errno.EIO, monkeypatch)
    with pytest.raises(SpoolUnavailableError):
        append(spool, 1)
    append(spool, 2)
    assert [figures.batches for figures in inspect(folder)] == [1, 1]
    spool = make()
    assert drain(spool) == [0, 2]
    assert (spool.torn_bytes, spool.bad_segments) == (FRAME // 2, 0)


@pytest.mark.parametrize("can_be_cut", [True, False])
def test_what_did_not_reach_the_disk_is_not_acknowledged(
    make: Make, disk: Disk, monkeypatch: pytest.MonkeyPatch, can_be_cut: bool
) -> None:
    spool = make()
    append(spool, 0)
    with monkeypatch.context() as patch:
        disk.refuse("fdatasync", errno.EIO, patch)
        if not can_be_cut:
            disk.refuse("ftruncate", errno.EIO, patch)
        with pytest.raises(SpoolUnavailableError):
            append(spool, 1)
    append(spool, 2)
    assert drain(spool) == [0, 2]


def test_an_append_returns_when_bytes_and_name_are_durable(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = make()
    calls: list[str] = []

    def watch(name: str, real: Callable[..., object]) -> None:
        def watched(*arguments: object) -> object:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, watched)

    watch("fsync", os.fsync)
    watch("pwrite", os.pwrite)
    watch("fdatasync", os.fdatasync)
    append(spool, 0, 1)
    assert calls == ["fsync", "pwrite", "fdatasync", "pwrite", "fdatasync"]


def test_an_append_that_is_interrupted_leaves_no_half_frame(
    folder: Path, make: Make, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make()
    append(spool, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            append(spool, 1)
    append(spool, 2)
    assert undamaged(folder)
    assert drain(spool) == [0, 2]


def test_a_file_that_cannot_be_removed_does_not_come_again_before_the_next_start(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make()
    append(spool, *range(4))
    segment = spool.oldest()
    assert segment is not None
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EROFS, "no")))
        with pytest.raises(SpoolUnavailableError):
            spool.done(segment)
    assert drain(spool) == [3]
    assert drain(make()) == [0, 1, 2]


def test_a_file_that_the_disk_does_not_give_back_is_set_aside(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make()
    append(spool, *range(4))
    bad = files(folder)[0].name
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == bad:
            raise OSError(errno.EIO, "no")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert drain(spool) == [3]
    assert spool.bad_segments == 1
    assert [path.name for path in files(folder)] == [bad + ".bad"]


# Damage

THREE = HEADER + encode_frames([numbered(n) for n in range(3)])


def test_the_bytes_are_as_documented() -> None:
    payload = encode_bundle([numbered(5)])
    length = len(payload).to_bytes(4, "big")
    crc = google_crc32c.value(length + payload).to_bytes(4, "big")
    assert encode_frames([numbered(5)]) == length + crc + payload
    assert HEADER == b"HGSP\0\0\0\1"


@pytest.mark.parametrize("zeros", [0, 1, 7, 8, 100])
def test_a_torn_tail_is_ignored_and_counted_at_every_byte(folder: Path, make: Make, zeros: int) -> None:
    spool = make()
    for length in range(len(THREE)):
        frames, torn = divmod(length - len(HEADER), FRAME) if length >= len(HEADER) else (0, length)
        earlier(folder, 1).write_bytes(THREE[:length] + bytes(zeros))
        spool = make()
        assert drain(spool) == list(range(frames)), length
        if not (zeros and torn):  # zeros instead of the rest of a frame may be damage as well
            assert (spool.torn_bytes, spool.bad_segments) == (torn + zeros, 0), length
        assert not earlier(folder, 1).exists()


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_costs_its_own_frame_only(flip: int) -> None:
    for at in range(len(THREE)):
        data = bytearray(THREE)
        data[at] ^= flip
        found = scan(bytes(data))
        hit = (at - len(HEADER)) // FRAME
        assert found.messages == tuple(numbered(n) for n in range(3) if n != hit), at
        assert found.is_damaged, at


def test_a_damaged_segment_gives_its_good_batches_and_is_set_aside(folder: Path, make: Make) -> None:
    spool = make()
    append(spool, *range(4))
    first = files(folder)[0]
    data = bytearray(first.read_bytes())
    data[len(HEADER) + FRAME + 20] ^= 1
    first.write_bytes(data)
    spool = make()
    segment = spool.oldest()
    assert segment is not None
    assert segment.is_damaged
    assert drain(spool) == [0, 2, 3]
    assert spool.bad_segments == 1
    (bad,) = files(folder)
    assert bad.name == first.name + ".bad"
    assert bad.read_bytes() == bytes(data)
    assert spool.bytes_held == len(data)
    assert inspect(folder) == [SegmentFigures(bad.name, len(data), 2, 0, 1, True)]
    assert drain(make()) == []


@given(st.lists(st.tuples(st.integers(0, len(THREE) - 1), st.integers(0, 255)), max_size=6), st.binary(max_size=40))
def test_no_damage_makes_a_wrong_batch(damage: list[tuple[int, int]], tail: bytes) -> None:
    data = bytearray(THREE)
    for at, value in damage:
        data[at] = value
    hit = {(at - len(HEADER)) // FRAME for at, _ in damage if data[at] != THREE[at]}
    found = scan(bytes(data) + tail)
    assert found.messages == tuple(numbered(n) for n in range(3) if n not in hit)


@given(st.binary(max_size=200))
def test_any_bytes_can_be_scanned(data: bytes) -> None:
    assert scan(data).messages == ()
    assert scan(HEADER + data).messages == ()


def test_a_frame_within_a_damaged_batch_is_not_taken_for_one() -> None:
    outer = Message("logs", 0, (), encode_frames([numbered(7)]))
    data = bytearray(HEADER + encode_frames([outer, numbered(1)]))
    data[len(HEADER) + 15] ^= 1
    assert scan(bytes(data)).messages == (numbered(1),)


@pytest.mark.parametrize("frames", [2, 3])
def test_a_length_that_spans_other_frames_hides_none_of_them(frames: int) -> None:
    data = bytearray(THREE)
    data[len(HEADER) : len(HEADER) + 4] = (frames * FRAME - 8).to_bytes(4, "big")
    assert scan(bytes(data)).messages == (numbered(1), numbered(2))


def test_a_frame_that_is_no_batch_is_a_bad_one() -> None:
    payload = b"\0\0\0\4logs"
    crc = google_crc32c.value(len(payload).to_bytes(4, "big") + payload)
    data = THREE + len(payload).to_bytes(4, "big") + crc.to_bytes(4, "big") + payload
    assert scan(data) == Contents(tuple(map(numbered, range(3))), 0, 1, True)


def test_a_wrong_length_at_the_end_is_damage_and_not_a_torn_tail() -> None:
    data = bytearray(THREE)
    data[len(HEADER) + 2 * FRAME + 2] ^= 1
    found = scan(bytes(data))
    assert (len(found.messages), found.torn_bytes, found.bad_frames) == (2, 0, 1)


def test_damaged_files_are_few_count_toward_the_limit_and_go_first(folder: Path, make: Make, drops: Drops) -> None:
    spool = make()
    for number in range(BAD_FILES_MAX + 3):
        earlier(folder, number + 1).write_bytes(b"x" * FRAME)
    spool = make()
    assert spool.oldest() is None
    assert spool.bad_segments == BAD_FILES_MAX + 3
    assert [int(path.name[:12]) for path in files(folder)] == list(range(4, 12))
    assert spool.bytes_held == BAD_FILES_MAX * FRAME
    spool = make(bytes_max=9 * FRAME)
    append(spool, 0, 1)
    assert len(files(folder, "*.bad")) == 6
    assert not drops.numbers
    assert drain(spool) == [0, 1]


def test_other_files_are_left_alone(folder: Path, make: Make) -> None:
    make()
    (folder / "notes.txt").write_text("mine")
    spool = make()
    assert (spool.oldest(), spool.bytes_held) == (None, 0)
    assert (folder / "notes.txt").exists()
