"""What the Tantivy store does when files break, disks fill, and days come and go."""

from __future__ import annotations

import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from search.port import Document, LogSearch, SearchUnavailableError
from search.tantivy_reader import TantivyReader
from search.tantivy_writer import TantivyWriter
from tests.contracts.document_store_suite import newest_first, pages, write
from tests.contracts.documents import DAY_NS, NOW_NS, log, span

TODAY, YESTERDAY = "2024-10-04", "2024-10-03"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "search"


def two_days(root: Path) -> tuple[Document, Document]:
    """A store that holds one document of yesterday and one of today."""
    writer = TantivyWriter(root)
    old, new = log(0, NOW_NS - DAY_NS), log(1)
    write(writer, [old, new])
    writer.close()
    return old, new


def _garble(file: Path) -> None:
    size = file.stat().st_size
    file.write_bytes(b"\xff" * size)


def _segment(folder: Path, suffix: str) -> Path:
    return next(folder.glob(f"*.{suffix}"))


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "meta gone": lambda f: (f / "meta.json").unlink(),
    "meta garbled": lambda f: _garble(f / "meta.json"),
    "meta empty": lambda f: (f / "meta.json").write_bytes(b""),
    "terms gone": lambda f: _segment(f, "term").unlink(),
    "terms garbled": lambda f: _garble(_segment(f, "term")),
    "terms cut": lambda f: _segment(f, "term").write_bytes(_segment(f, "term").read_bytes()[:20]),
    "columns garbled": lambda f: _garble(_segment(f, "fast")),
    "documents garbled": lambda f: _garble(_segment(f, "store")),
    "documents gone": lambda f: _segment(f, "store").unlink(),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_day_is_set_aside_and_the_rest_goes_on(root: Path, breakage: str) -> None:
    old, new = two_days(root)
    BREAKAGES[breakage](root / "logs" / TODAY)
    writer = TantivyWriter(root)
    assert [p.name[:17] for p in (root / "logs").glob("*.broken-*")] == [f"{TODAY}.broken"]
    assert pages(TantivyReader(root), {}) == [old]
    # The replay of what it held.
    assert write(writer, [old, new], maybe=True) == (1, 1)
    assert pages(TantivyReader(root), {}) == [new, old]
    writer.close()


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_reader_leaves_a_broken_day_out(root: Path, breakage: str) -> None:
    old, _ = two_days(root)
    BREAKAGES[breakage](root / "logs" / TODAY)
    reader = TantivyReader(root)
    for _ in range(2):
        assert pages(reader, {"end_ns": NOW_NS + DAY_NS}) == [old]


def test_a_creation_that_was_killed_is_finished(root: Path) -> None:
    (root / "logs" / TODAY).mkdir(parents=True)
    (root / "logs" / TODAY / ".managed.json").write_bytes(b"[]")
    reader = TantivyReader(root)
    assert reader.logs(LogSearch()).total == 0
    writer = TantivyWriter(root)
    assert write(writer, [log(0)]) == (1, 0)
    assert reader.logs(LogSearch()).total == 1
    assert [p.name for p in (root / "logs").iterdir()] == [TODAY]
    writer.close()


def test_a_folder_that_is_removed_under_the_writer_is_made_anew(root: Path) -> None:
    writer, reader = TantivyWriter(root), TantivyReader(root)
    write(writer, [log(0)])
    assert reader.logs(LogSearch()).total == 1
    shutil.rmtree(root)
    assert reader.logs(LogSearch()).total == 0
    assert write(writer, [log(1)]) == (1, 0)
    assert reader.logs(LogSearch()).documents == [log(1)]
    writer.close()


def test_a_second_writer_is_refused_until_the_first_closes(root: Path) -> None:
    first, second = TantivyWriter(root), TantivyWriter(root)
    write(first, [log(0)])
    with pytest.raises(SearchUnavailableError):
        write(second, [log(1)])
    first.close()
    assert write(second, [log(0), log(1)], maybe=True) == (1, 1)
    second.close()


@contextmanager
def _files_at_most(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_the_write_and_harms_nothing(root: Path) -> None:
    writer, reader = TantivyWriter(root), TantivyReader(root)
    write(writer, [log(0)])
    large = log(1, body={"text": " ".join(f"{i * 7919:x}" for i in range(20_000))})
    with _files_at_most(10_000):
        for _ in range(3):
            with pytest.raises(SearchUnavailableError):
                write(writer, [large], maybe=True)
        assert reader.logs(LogSearch()).documents == [log(0)]
    assert write(writer, [large], maybe=True) == (1, 0)
    assert reader.logs(LogSearch()).documents == [large, log(0)]
    writer.close()


def test_a_failure_of_one_day_leaves_the_other_days_commit_to_be_found_again(root: Path) -> None:
    writer, other = TantivyWriter(root), TantivyWriter(root)
    write(other, [log(0)])
    both = [log(1, NOW_NS - DAY_NS), log(2)]
    with pytest.raises(SearchUnavailableError):
        write(writer, both)
    other.close()
    assert write(writer, both, maybe=True) == (1, 1)
    assert pages(TantivyReader(root), {}) == newest_first([*both, log(0)])
    writer.close()


def test_idle_days_are_closed_and_few_are_open(root: Path) -> None:
    now = [0.0]
    writer = TantivyWriter(root, idle_s=60.0, clock=lambda: now[0])
    write(writer, [log(i, NOW_NS - i * DAY_NS) for i in range(9)])
    other = TantivyWriter(root)
    # Only the last four are held; the lock of the others is free.
    assert write(other, [log(9, NOW_NS)]) == (1, 0)
    with pytest.raises(SearchUnavailableError):
        write(other, [log(10, NOW_NS - 8 * DAY_NS)])
    now[0] = 60.0
    write(writer, [])
    assert write(other, [log(10, NOW_NS - 8 * DAY_NS)]) == (1, 0)
    assert TantivyReader(root).logs(LogSearch()).total == 11
    writer.close()
    other.close()


def test_retention_removes_old_days_of_both_streams(root: Path) -> None:
    writer, reader = TantivyWriter(root), TantivyReader(root)
    kept = [log(i, NOW_NS - i * DAY_NS) for i in range(2)]
    old = [log(2, NOW_NS - 2 * DAY_NS), span(3, 0, NOW_NS - 2 * DAY_NS), log(4, NOW_NS - 3 * DAY_NS)]
    write(writer, [*kept, *old])
    assert reader.services("default") == ["shop"]
    assert writer.retire(date(2024, 10, 3)) == 3
    assert pages(reader, {}) == kept
    assert reader.services("default") == []
    assert writer.retire(date(2024, 10, 3)) == 0
    # A replay does not bring them back, neither now nor after a restart.
    assert write(writer, old, maybe=True) == (0, 0)
    writer.close()
    again = TantivyWriter(root)
    assert write(again, [*old, *kept], maybe=True) == (0, 2)
    assert pages(reader, {}) == kept
    again.close()


def test_a_wrong_clock_removes_two_days_at_most(root: Path) -> None:
    writer = TantivyWriter(root)
    write(writer, [log(i, NOW_NS - i * DAY_NS) for i in range(5)])
    assert writer.retire(date(2999, 1, 1)) == 2
    assert TantivyReader(root).logs(LogSearch()).total == 3
    writer.close()


def test_a_removal_that_was_killed_is_finished_at_the_next_start(root: Path) -> None:
    _, new = two_days(root)
    (root / "logs" / YESTERDAY).rename(root / "logs" / f".retired-{YESTERDAY}")
    assert pages(TantivyReader(root), {}) == [new]
    writer = TantivyWriter(root)
    assert [p.name for p in (root / "logs").iterdir()] == [TODAY]
    writer.close()


def test_a_page_is_limited_in_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tantivy_reader.PAGE_BYTES_MAX", 100_000)
    writer = TantivyWriter(root)
    documents = [log(i, body={"text": "x" * 30_000}) for i in range(10)]
    write(writer, [*documents, log(10, body={"text": "y" * 200_000})])
    writer.close()
    reader = TantivyReader(root)
    assert len(reader.logs(LogSearch(limit=1000)).documents) == 1
    assert len(pages(reader, {"limit": 1000})) == 11


def test_threads_read_beside_a_writer_without_a_gap(root: Path) -> None:
    writer, reader = TantivyWriter(root), TantivyReader(root)
    written = 0
    done = threading.Event()
    failures: list[str] = []

    def read() -> None:
        while not done.is_set():
            least = written
            found = reader.logs(LogSearch(limit=1000)).documents
            if len(found) < least or [d.id for d in found] != [
                d.id for d in newest_first(log(i) for i in range(len(found)))
            ]:
                failures.append(f"{len(found)} of {least}")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(40):
        write(writer, [log(j) for j in range(i * 5, i * 5 + 5)])
        written = i * 5 + 5
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    writer.close()
