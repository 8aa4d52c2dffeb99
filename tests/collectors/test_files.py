from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collectors.errors import JournalError
from collectors.file_follow import FollowConfig
from collectors.file_journal import Journal, Position
from collectors.file_lines import LINE_BYTES_MAX
from collectors.file_records import INVALID_UTF8
from collectors.files import FileSource
from collectors.outbox import Outbox
from heliograph import contracts
from heliograph.identity import ProducerIdentity
from heliograph.message import Headers
from heliograph.records import decode_batch
from tests.collectors.fake_bus import FakeBus, log_bodies, unique
from tests.collectors.waiting import wait_for

LOGS = contracts.LOGS_TOPIC


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def source(bus: FakeBus, folder: Path, outbox: Outbox, pattern: str, **follow: Any) -> FileSource:
    return FileSource(
        [FollowConfig(str(folder / pattern), **follow)],
        folder.parent / "agent" / "files.db",
        outbox,
        ProducerIdentity().mint,
        hostname="h1",
    )


@contextmanager
def following(bus: FakeBus, folder: Path, pattern: str = "*.log", **follow: Any) -> Iterator[FileSource]:
    outbox = Outbox(bus, linger_s=0.001)
    files = source(bus, folder, outbox, pattern, **follow)
    stop = threading.Event()
    thread = threading.Thread(target=files.run, args=(stop, lambda: None))
    thread.start()
    try:
        yield files
    finally:
        stop.set()
        outbox.close(0.5)
        thread.join(10)
        assert not thread.is_alive()


def records(bus: FakeBus) -> list[dict[str, Any]]:
    schema = contracts.schema("log_batch")
    return [r for m in unique(bus.of(LOGS)) for r in decode_batch(m.body, schema)["records"]]


def has(bus: FakeBus, *lines: str) -> bool:
    return set(lines) <= set(log_bodies(bus.of(LOGS)))


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def test_a_line_becomes_a_record_with_its_file_host_service_and_severity(bus: FakeBus, folder: Path) -> None:
    append(folder / "shop.log", "2026-01-01 ERROR it broke\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "2026-01-01 ERROR it broke"))
    (message,) = bus.of(LOGS)
    batch = decode_batch(message.body, contracts.schema("log_batch"))
    assert batch["resource"] == {"service.name": "shop", "host.name": "h1"}
    (record,) = batch["records"]
    assert record["attributes"] == {"log.file.path": str(folder / "shop.log")}
    assert (record["severity_number"], record["severity_text"]) == (17, "ERROR")
    assert record["time_unix_nano"] == record["observed_time_unix_nano"] > 0


def test_lines_of_a_growing_file_arrive_once_and_in_order(bus: FakeBus, folder: Path) -> None:
    expected = [f"line {i}" for i in range(3000)]
    with following(bus, folder):
        for at in range(0, 3000, 100):
            append(folder / "a.log", "".join(f"{line}\n" for line in expected[at : at + 100]))
        assert wait_for(lambda: has(bus, expected[-1]))
    assert log_bodies(bus.of(LOGS)) == expected


def test_batches_stay_below_the_target(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", b"".join(b"%06d " % i + b"\xff" * (i % 200) + b"\n" for i in range(20_000)))
    with following(bus, folder):
        assert wait_for(lambda: any(b.startswith("019999") for b in log_bodies(bus.of(LOGS))), 60)
    assert max(len(m.body) for m in bus.of(LOGS)) <= contracts.BATCH_BYTES_TARGET
    assert len(records(bus)) == 20_000


def test_a_service_given_for_a_glob_is_used(bus: FakeBus, folder: Path) -> None:
    append(folder / "x.log", "a\n")
    with following(bus, folder, service="billing"):
        assert wait_for(lambda: has(bus, "a"))
    assert Headers.decode(bus.of(LOGS)[0].headers).service == "billing"


def test_a_restart_goes_on_where_it_stopped(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", "1\n2\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "2"))
    append(folder / "a.log", "3\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "3"))
    assert log_bodies(bus.of(LOGS)) == ["1", "2", "3"]
    producers = {Headers.decode(m.headers).batch_id.producer_id for m in bus.of(LOGS)}
    assert len(producers) == 1


def test_start_at_the_end_leaves_out_what_was_there_and_nothing_later(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", "old\n")
    with following(bus, folder, start="end") as files:
        assert wait_for(lambda: files.status()["files"] == 1)
        append(folder / "a.log", "new\n")
        append(folder / "b.log", "other\n")
        assert wait_for(lambda: has(bus, "new", "other"))
    assert sorted(log_bodies(bus.of(LOGS))) == ["new", "other"]


def test_a_last_line_without_newline_arrives_after_a_second(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", "whole\nhalf")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "half"))
        append(folder / "a.log", "\nnext\n")
        assert wait_for(lambda: has(bus, "next"))
    assert log_bodies(bus.of(LOGS)) == ["whole", "half", "next"]


def test_rotation_by_rename_loses_nothing_even_what_is_written_to_the_old_file(bus: FakeBus, folder: Path) -> None:
    path = folder / "a.log"
    append(path, "1\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "1"))
        with path.open("a") as old:
            path.rename(folder / "a.log.1")
            append(path, "3\n")
            old.write("2\n")
        assert wait_for(lambda: has(bus, "2", "3"))
    assert sorted(log_bodies(bus.of(LOGS))) == ["1", "2", "3"]
    assert {r["attributes"]["log.file.path"] for r in records(bus)} == {str(path)}


def test_rotation_at_speed_loses_nothing(bus: FakeBus, folder: Path) -> None:
    path = folder / "a.log"
    expected = []
    append(path, "first\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "first"))
        for rotation in range(40):
            lines = [f"{rotation} {i}" for i in range(200)]
            append(path, "".join(f"{line}\n" for line in lines))
            expected += lines
            for n in range(rotation, 0, -1):
                (folder / f"a.log.{n}").rename(folder / f"a.log.{n + 1}")
            path.rename(folder / "a.log.1")
        append(path, "last\n")
        assert wait_for(lambda: has(bus, "last"))
        assert wait_for(lambda: has(bus, *expected))
    assert sorted(log_bodies(bus.of(LOGS))) == sorted(["first", *expected, "last"])


def test_a_truncated_file_is_read_from_its_start(bus: FakeBus, folder: Path) -> None:
    path = folder / "a.log"
    append(path, "1\n2\n3\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "3"))
        os.truncate(path, 0)
        append(path, "4\n")
        assert wait_for(lambda: has(bus, "4"))
    assert log_bodies(bus.of(LOGS)) == ["1", "2", "3", "4"]


def test_a_file_that_was_truncated_and_is_longer_again_is_read_from_its_start(bus: FakeBus, folder: Path) -> None:
    path = folder / "a.log"
    append(path, "1\n2\n3\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "3"))
        with path.open("r+b") as file:
            file.truncate(0)
            file.write(b"a longer line than all before\nand one more\n")
        assert wait_for(lambda: has(bus, "and one more"))
    assert log_bodies(bus.of(LOGS))[3:] == ["a longer line than all before", "and one more"]


def test_a_file_truncated_while_nobody_looked_is_read_from_its_start(bus: FakeBus, folder: Path) -> None:
    path = folder / "a.log"
    append(path, "1\n2\n3\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "3"))
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(b"a longer line than all before\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "a longer line than all before"))
    assert log_bodies(bus.of(LOGS)) == ["1", "2", "3", "a longer line than all before"]


def test_the_copy_of_a_copytruncate_is_not_read_again(bus: FakeBus, folder: Path) -> None:
    path = folder / "a.log"
    append(path, "1\n2\n")
    with following(bus, folder, "a.log*"):
        assert wait_for(lambda: has(bus, "2"))
        shutil.copy(path, folder / "a.log.1")
        os.truncate(path, 0)
        append(path, "3\n")
        assert wait_for(lambda: has(bus, "3"))
        append(folder / "a.log.1", "written after the copy\n")
        assert wait_for(lambda: has(bus, "written after the copy"))
    assert sorted(log_bodies(bus.of(LOGS))) == ["1", "2", "3", "written after the copy"]


def test_invalid_utf8_is_replaced_and_marked(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", b"caf\xe9\nfine\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "fine"))
    bad, fine = records(bus)
    assert bad["body"] == "caf�"
    assert bad["attributes"][INVALID_UTF8] is True
    assert INVALID_UTF8 not in fine["attributes"]


def test_a_line_of_ten_megabytes_is_truncated_with_a_mark(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", b"before\n" + b"x" * 10_000_000 + b"\nafter\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "before", "after"))
    before, long, after = records(bus)
    assert (before["body"], after["body"]) == ("before", "after")
    assert long["body"] == "x" * LINE_BYTES_MAX
    assert long["truncated_bytes"] == 10_000_000 - LINE_BYTES_MAX


def test_a_lost_answer_and_an_outage_double_nothing(bus: FakeBus, folder: Path) -> None:
    bus.lose_answers = 1
    append(folder / "a.log", "1\n")
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "1"))
        bus.down = True
        append(folder / "a.log", "2\n")
        assert wait_for(lambda: bus.calls > 4)
        bus.down = False
        assert wait_for(lambda: has(bus, "2"))
    assert log_bodies(bus.of(LOGS)) == ["1", "2"]


def test_an_unfinished_intent_is_sent_again_with_the_same_bytes(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", "1\n2\n")
    bus.down = True
    with following(bus, folder):
        assert wait_for(lambda: bus.calls > 0)
    assert bus.log == []
    (folder / "a.log").rename(folder / "renamed")
    bus.down = False
    with following(bus, folder) as files:
        assert wait_for(lambda: has(bus, "2"))
        assert files.status()["resent"] == 1
    assert log_bodies(bus.of(LOGS)) == ["1", "2"]
    assert (bus.of(LOGS)[0].header("hg.attempt") or b"")[-1] > 0


def test_bytes_that_are_gone_become_a_fact_that_names_the_batch(bus: FakeBus, folder: Path) -> None:
    append(folder / "a.log", "1\n2\n")
    bus.down = True
    with following(bus, folder):
        assert wait_for(lambda: bus.calls > 0)
    (folder / "a.log").write_text("something else\n")
    bus.down = False
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "something else"))
        assert wait_for(lambda: len(bus.of(contracts.LEDGER_TOPIC)) == 1)
    fact = decode_batch(bus.of(contracts.LEDGER_TOPIC)[0].body, contracts.schema("ledger_fact"))
    assert (fact["hop"], fact["outcome"], fact["reason"], fact["sequence"]) == ("agent", "dropped", "source_gone", 0)
    assert fact["topic"] == LOGS
    assert sum(book["count"] for book in fact["books"]) == 2
    assert fact["producer_id"] == Headers.decode(bus.of(LOGS)[0].headers).batch_id.producer_id


def test_a_fifo_and_an_unreadable_place_do_not_stop_it(bus: FakeBus, folder: Path) -> None:
    os.mkfifo(folder / "pipe.log")
    (folder / "dir.log").mkdir()
    (folder / "loop.log").symlink_to("loop.log")
    append(folder / "a.log", "1\n")
    with following(bus, folder) as files:
        assert wait_for(lambda: has(bus, "1"))
        assert files.status()["files"] == 1


def test_a_damaged_journal_is_one_clear_error(bus: FakeBus, folder: Path) -> None:
    journal = folder.parent / "agent" / "files.db"
    journal.parent.mkdir()
    journal.write_bytes(b"no database at all" * 1000)
    outbox = Outbox(bus)
    with pytest.raises(JournalError, match=r"files\.db is damaged"):
        source(bus, folder, outbox, "*.log").run(threading.Event(), lambda: None)
    outbox.close()


def test_a_second_agent_on_the_same_journal_is_refused(bus: FakeBus, folder: Path) -> None:
    outbox = Outbox(bus)
    with following(bus, folder) as files:
        assert wait_for(lambda: files.status()["files"] == 0 and (folder.parent / "agent" / "files.db").exists())
        append(folder / "a.log", "1\n")
        assert wait_for(lambda: has(bus, "1"))
        with pytest.raises(JournalError, match="another agent"):
            source(bus, folder, outbox, "*.log").run(threading.Event(), lambda: None)
    outbox.close()


def test_a_new_file_with_the_inode_and_the_first_lines_of_a_deleted_one_is_read(bus: FakeBus, folder: Path) -> None:
    path = folder / "a.log"
    append(path, "same start\n")
    inode = path.stat().st_ino
    with following(bus, folder):
        assert wait_for(lambda: has(bus, "same start"))
    path.unlink()
    append(path, "same start\n")
    if path.stat().st_ino != inode:
        pytest.skip("this file system does not give an inode out again at once")
    with following(bus, folder):
        assert wait_for(lambda: log_bodies(bus.of(LOGS)) == ["same start", "same start"])


def test_a_journal_that_cannot_be_opened_or_written_is_one_clear_error(bus: FakeBus, folder: Path) -> None:
    outbox = Outbox(bus)
    (folder.parent / "agent" / "files.db").mkdir(parents=True)
    with pytest.raises(JournalError, match=r"files\.db cannot be opened"):
        source(bus, folder, outbox, "*.log").run(threading.Event(), lambda: None)
    (folder.parent / "agent" / "files.db").rmdir()
    outbox.close()


def test_a_full_disk_stops_reading_and_what_was_read_is_read_again(bus: FakeBus, folder: Path) -> None:
    path = folder.parent / "agent" / "files.db"
    journal = Journal.open(path)
    journal._db.execute(f"PRAGMA max_page_count={journal._db.execute('PRAGMA page_count').get}")
    with pytest.raises(JournalError, match="full"):
        journal.commit((), (), [Position(1, n, 0, "x" * 500, 0, b"", 0) for n in range(1000)])
    assert journal.positions() == []
    journal.close()
