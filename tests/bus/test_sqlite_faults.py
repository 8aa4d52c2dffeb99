"""What becomes of the embedded bus on a full disk, in a damaged file, at its limit, when it is closed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from bus.errors import BusUnavailableError
from bus.port import Listener, TopicPartition
from bus.sqlite import SqliteBus
from bus.sqlite_file import sentence
from heliograph.message import Message
from tests.bus.child import ROOT

_SILENT = Listener(lambda _: None, lambda _: None)
_T0 = TopicPartition("t", 0)

_FULL_DISK = """
import random, resource, sys
from pathlib import Path
from bus.errors import BusUnavailableError
from bus.sqlite import SqliteBus
from heliograph.message import Message

body = random.Random(1).randbytes(200_000)
bus = SqliteBus(Path(sys.argv[1]))
bus.create_topics({"t": 1})
bus.produce([Message("t", 0, (), body)])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
acknowledged = 1
try:
    while acknowledged < 100:
        bus.produce([Message("t", 0, (), body)])
        acknowledged += 1
except BusUnavailableError as error:
    print(error)
assert bus.end_offsets("t") == {0: acknowledged}, acknowledged
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert bus.produce([Message("t", 0, (), body)]) == [acknowledged]
print(acknowledged)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus" / "bus.db"


def _filled(path: Path, messages: int) -> None:
    bus = SqliteBus(path)
    bus.create_topics({"t": 1})
    for i in range(messages):
        bus.produce([Message("t", 0, (), f"{i}".encode() * 5000)])
    bus.close()


def test_a_disk_without_space_fails_the_call_keeps_the_rest_and_heals(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told, acknowledged = done.stdout.splitlines()
    assert str(path) in told
    assert 1 <= int(acknowledged) < 100


def test_over_its_limit_the_bus_refuses_until_old_messages_go(path: Path) -> None:
    bus = SqliteBus(path, file_bytes_max=300_000, retention_ms={"t": -1})
    bus.create_topics({"t": 1})
    bodies = [i.to_bytes(2, "big") * 2 + bytes(range(256)) for i in range(10_000)]
    message = Message("t", 0, (), b"".join(bodies[:200]))
    with pytest.raises(BusUnavailableError, match="its limit"):
        for i in range(10_000):
            bus.produce([Message("t", 0, (("n", bodies[i]),), message.body[i:])])
    end = bus.end_offsets("t")[0]
    assert end > 0
    bus.trim(now_ms=2**60)
    assert bus.produce([message]) == [end]
    bus.close()


def test_a_file_that_is_no_database_is_told_in_one_sentence(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(BusUnavailableError, match=r"bus\.db is damaged or not ours .*: stop Heliograph, move .* away"):
        SqliteBus(path)


def test_a_file_of_a_newer_format_is_refused(path: Path) -> None:
    SqliteBus(path).close()
    with apsw.Connection(str(path)) as connection:
        connection.execute("PRAGMA user_version=99").fetchall()
    connection.close()
    with pytest.raises(BusUnavailableError, match="format 99"):
        SqliteBus(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BusUnavailableError, match=r"bus\.db"):
        SqliteBus(tmp_path / "file" / "bus.db")


def test_overwritten_pages_are_told_and_never_delivered(path: Path) -> None:
    _filled(path, 200)
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(BusUnavailableError, match="damaged"):
        SqliteBus(path).produce([Message("t", 0, (), b"x")])
    with pytest.raises(BusUnavailableError, match="damaged"):
        SqliteBus(path).consumer("g", ["t"], "m", _SILENT)


def test_a_damaged_chunk_stops_the_reader_until_it_seeks_past(path: Path) -> None:
    _filled(path, 3)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE chunk SET payload = zeroblob(length(payload)) WHERE id & 1 = 1").fetchall()
    connection.close()
    bus = SqliteBus(path)
    consumer = bus.consumer("g", ["t"], "m", _SILENT)
    assert [r.offset for r in consumer.poll(5.0, 1)] == [0]
    for _ in range(2):
        with pytest.raises(BusUnavailableError, match="t/0 is damaged at offset 1"):
            consumer.poll(5.0, 1)
    consumer.seek(_T0, 2)
    assert [r.offset for r in consumer.poll(5.0, 1)] == [2]
    consumer.close()
    bus.close()


def test_a_closed_bus_says_so(path: Path) -> None:
    bus = SqliteBus(path)
    bus.close()
    with pytest.raises(BusUnavailableError, match="has been closed"):
        bus.create_topics({"t": 1})
    with pytest.raises(BusUnavailableError, match="has been closed"):
        bus.end_offsets("t")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (apsw.FullError("disk"), "the disk is full"),
        (apsw.BusyError("busy"), "locked by another process"),
        (apsw.CorruptError("malformed"), "is damaged"),
        (apsw.ReadOnlyError("ro"), "cannot be opened for writing"),
        (apsw.IOError("io"), "check the disk"),
    ],
)
def test_each_failure_has_its_sentence(error: apsw.Error, words: str) -> None:
    told = sentence(error, Path("/d/bus/bus.db"))
    assert words in told
    assert "/d/bus/bus.db" in told


def test_threads_share_a_bus_and_each_gets_its_own_offsets(path: Path) -> None:
    bus = SqliteBus(path)
    bus.create_topics({"t": 1})
    offsets: dict[str, int] = {}

    def run(name: str) -> None:
        for i in range(25):
            a, b = bus.produce([Message("t", 0, (), f"{name}:{i}:{part}".encode()) for part in "ab"])
            offsets[f"{name}:{i}:a"], offsets[f"{name}:{i}:b"] = a, b

    threads = [threading.Thread(target=run, args=(f"{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    consumer = bus.consumer("g", ["t"], "m", _SILENT)
    found = {r.body.decode(): r.offset for r in consumer.poll(5.0, 2**24)}
    assert found == offsets
    assert sorted(found.values()) == list(range(300))
    consumer.close()
    bus.close()
