from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from archive import manifest
from archive.local import LocalObjects
from archive.reader import Selection, read_archive
from bus.port import Listener
from bus.sqlite import SqliteBus
from heliograph import contracts
from heliograph.message import Message
from tests.routers.running import GROUP, eventually, log_message

KILLS = 3
DEAD = "telemetry.deadletters.archive"


@contextmanager
def process(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.routers.archive_router", str(folder), *options]
    log = (folder / "log").open("ab")
    started = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        log.close()


def broken(message: Message) -> Message:
    return replace(message, body=message.body[:-1] + b"\x01")


def test_a_router_killed_again_and_again_archives_each_message_once(tmp_path: Path) -> None:
    rng = random.Random(20261123)
    bus = SqliteBus(tmp_path / "bus.db")
    bus.create_topics({t.name: t.partitions for t in contracts.topics().values()})
    archive = LocalObjects(tmp_path / "archive")
    sent: list[bytes] = []
    bad = 0

    def produce() -> None:
        nonlocal bad
        messages = [log_message("x" * rng.randrange(600), partition=rng.randrange(4)) for _ in range(10)]
        sent.extend(m.body for m in messages)
        bus.produce([*messages, broken(log_message("bad", partition=rng.randrange(4)))])
        bad += 1

    def said() -> str:
        return (tmp_path / "log").read_text()

    def entries() -> int:
        return sum(1 for _ in archive.list(manifest.ROOT))

    def wait_for(target: int) -> None:
        eventually(lambda: entries() >= target or committed_all(bus), said)

    for _ in range(KILLS):
        with process(tmp_path):
            produce()
            wait_for(entries() + rng.randrange(1, 8))
            produce()
    with process(tmp_path):
        eventually(lambda: committed_all(bus), said)

    found = [a.record.body for a in read_archive(archive, Selection(contracts.LOGS_TOPIC), distinct=False)]
    assert sorted(found) == sorted(sent)
    chains: dict[manifest.Chain, int] = {}
    for entry in manifest.entries(archive):
        assert entry.first == chains.get(entry.chain, 0)
        assert not entry.lost
        chains[entry.chain] = entry.next
    letters = dead_letters(bus)
    assert len(letters) >= bad
    assert len(set(letters)) == bad
    bus.close()


def test_a_stopped_router_that_wakes_after_its_successor_shows_nothing_twice(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "bus.db")
    bus.create_topics({t.name: t.partitions for t in contracts.topics().values()})
    archive = LocalObjects(tmp_path / "archive")
    messages = [log_message(f"{i}" * 500, partition=i % 4) for i in range(60)]

    def said() -> str:
        return (tmp_path / "log").read_text()

    bus.produce(messages[:40])
    with process(tmp_path, "stop") as zombie:
        eventually(lambda: " T " in Path(f"/proc/{zombie.pid}/stat").read_text(), said)
        assert not any(archive.list(manifest.ROOT))
        with process(tmp_path):
            eventually(lambda: committed_all(bus), said)
            zombie.send_signal(signal.SIGCONT)
            bus.produce(messages[40:])
            eventually(lambda: committed_all(bus), said)
            eventually(lambda: "has taken this one's place" in said(), said)
    found = [a.record.body for a in read_archive(archive, Selection(contracts.LOGS_TOPIC), distinct=False)]
    assert sorted(found) == sorted(m.body for m in messages)
    bus.close()


def committed_all(bus: SqliteBus) -> bool:
    committed = bus.committed(GROUP, contracts.LOGS_TOPIC)
    return all(committed.get(p, 0) == end for p, end in bus.end_offsets(contracts.LOGS_TOPIC).items())


def dead_letters(bus: SqliteBus) -> list[tuple[bytes | None, bytes | None]]:
    """Identities of all letters, as often as they stand there."""
    consumer = bus.consumer("reader", [DEAD], "reader", Listener(lambda _: None, lambda _: None))
    found: list[tuple[bytes | None, bytes | None]] = []
    while len(found) < bus.end_offsets(DEAD)[0]:
        records = consumer.poll(1.0, 1 << 20)
        found += [(r.header("hg.producer_id"), r.header("hg.sequence")) for r in records]
    consumer.close()
    return found
