from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus.port import Listener, Record, TopicPartition
from bus.sqlite import SqliteBus
from collectors.file_journal import Journal
from heliograph import contracts
from heliograph.message import Message
from tests.collectors.fake_bus import log_bodies
from tests.collectors.follow_until_killed import POINTS
from tests.collectors.waiting import wait_for

ROOT = Path(__file__).parents[2]
KILLS = 12


def on_the_bus(bus: SqliteBus, topic: str = contracts.LOGS_TOPIC) -> list[Message]:
    found: list[Record] = []
    ends = bus.end_offsets(topic)
    consumer = bus.consumer("test", [topic], "reader", Listener(lambda _: None, lambda _: None))

    def all_read() -> bool:
        found.extend(consumer.poll(0.05, 1 << 24))
        read = {where: consumer.position(TopicPartition(topic, where)) for where in {r.partition for r in found}}
        return all(read.get(where, 0) >= end for where, end in ends.items())

    try:
        assert wait_for(all_read)
    finally:
        consumer.close()
    return [Message(r.topic, r.partition, r.headers, r.body) for r in found]


@contextmanager
def run(folder: Path, point: str, passages: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.collectors.follow_until_killed", str(folder), point, str(passages)]
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)


def ended(child: subprocess.Popen[bytes]) -> int | None:
    try:
        return child.wait(0.02)
    except subprocess.TimeoutExpired:
        return None


def test_each_line_is_once_on_the_bus_whenever_the_agent_is_killed(tmp_path: Path) -> None:
    rng = random.Random(4354)
    (tmp_path / "logs").mkdir()
    bus = SqliteBus(tmp_path / "bus.db")
    bus.create_topics({name: topic.partitions for name, topic in contracts.topics().items()})
    paths = [tmp_path / "logs" / name for name in ("a.log", "b.log", "c.log")]
    expected: list[str] = []
    for kill in range(KILLS):
        for path in paths:
            lines = [f"{path.stem} {kill} {i} {'x' * rng.randrange(200)}" for i in range(rng.randrange(1, 3000))]
            expected += lines
            with path.open("a") as file:
                file.writelines(f"{line}\n" for line in lines)
        if rng.random() < 0.3:
            paths[0].rename(tmp_path / "logs" / f"rotated-{kill}.log")
        with run(tmp_path, POINTS[kill % 3], rng.randrange(3)) as child:
            while (status := ended(child)) is None:
                late = f"late {len(expected)}"
                expected.append(late)
                with paths[2].open("a") as file:
                    file.write(f"{late}\n")
        assert status == -signal.SIGKILL
    with run(tmp_path, "never", 0):
        assert wait_for(lambda: set(expected) <= set(log_bodies(on_the_bus(bus))), 30)
    messages = on_the_bus(bus)
    assert sorted(log_bodies(messages)) == sorted(expected)
    again = [m for m in messages if any(m.header("hg.attempt") or b"")]
    assert again, "no kill came between intent and checkpoint: the test tests nothing"
    assert on_the_bus(bus, contracts.LEDGER_TOPIC) == [], "a line was given up although its file is there"
    sequences = {int.from_bytes(m.header("hg.sequence") or b"", "big") for m in messages}
    assert sequences == set(range(len(sequences))), "a sequence is missing"
    journal = Journal.open(tmp_path / "agent" / "files.db")
    assert journal.next_sequence == len(sequences)
    journal.close()
    bus.close()
