"""A process of its own that produces or consumes, for tests that kill it: `python -m tests.bus.child SPEC VERB …`.

It prints a line for each message that is acknowledged or delivered.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

from bus.kafka_settings import KafkaSettings
from bus.port import Bus, Listener
from bus.sqlite import SqliteBus
from heliograph.message import Message

ROOT = Path(__file__).parents[2]


def open_bus(spec: str) -> Bus:
    """The bus of `adapter|place|session_timeout_s`."""
    adapter, place, session_timeout_s = spec.split("|")
    if adapter == "sqlite":
        return SqliteBus(Path(place), session_timeout_s=float(session_timeout_s))
    if adapter == "kafka":
        from bus.kafka import KafkaBus

        return KafkaBus(kafka_settings(place, float(session_timeout_s)))
    raise ValueError(f"no adapter {adapter}")


def kafka_settings(place: str, session_timeout_s: float) -> KafkaSettings:
    """Of `host:port/prefix of groups`, a cluster of one broker."""
    bootstrap, group_prefix = place.split("/")
    return KafkaSettings(
        bootstrap,
        group_prefix=group_prefix,
        replication_factor=1,
        session_timeout_s=session_timeout_s,
        # A group needs a second or two to hand over; nobody is silent within it, however busy the machine.
        poll_interval_max_s=3 * session_timeout_s,
    )


class Child:
    """A running child and its lines; killed at the end of a with block."""

    def __init__(self, spec: str, *arguments: str) -> None:
        self._lines: Queue[str] = Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bus.child", spec, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def line(self, timeout_s: float = 30.0) -> str:
        """The next line; raises queue.Empty after the timeout."""
        return self._lines.get(timeout=timeout_s)

    def kill(self) -> list[str]:
        """SIGKILL; the lines that are left."""
        self.process.kill()
        return self.rest()

    def rest(self) -> list[str]:
        """Wait for the end; the lines that are left."""
        self.process.wait(30)
        self._thread.join()
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines

    def _collect(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self._lines.put(line.rstrip("\n"))


def _produce(bus: Bus, topic: str, tag: str, count: int) -> None:
    for i in range(count):
        (offset,) = bus.produce(
            [Message(topic, i % bus.partitions(topic), (("tag", tag.encode()),), f"{tag}:{i}".encode())]
        )
        print(f"{i % bus.partitions(topic)} {offset} {tag}:{i}", flush=True)


def _consume(bus: Bus, topic: str, group: str, member: str) -> None:
    consumer = bus.consumer(group, [topic], member, Listener(lambda _: None, lambda _: None))
    while True:
        for record in consumer.poll(1.0, 1024 * 1024):
            print(f"{record.partition} {record.offset} {record.body.decode()}", flush=True)


def main(spec: str, verb: str, topic: str, *rest: str) -> None:
    bus = open_bus(spec)
    if verb == "produce":
        _produce(bus, topic, rest[0], int(rest[1]))
    else:
        _consume(bus, topic, rest[0], rest[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
