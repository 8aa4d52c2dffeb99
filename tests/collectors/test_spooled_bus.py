"""While the bus is away batches are kept on disk and delivered afterwards; what the spool drops is named."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bus.errors import BusUnavailableError, OversizeError, UnknownTopicError
from bus.port import MESSAGE_BYTES_MAX
from collectors.outbox import Outbox
from collectors.patient_bus import PatientBus
from collectors.port import Appender
from collectors.spooled_bus import AWAY, SpooledBus
from heliograph import spool, spool_folder
from heliograph.message import Message
from heliograph.spool import Spool
from tests.client.batches import attempts, sequences
from tests.collectors.batches import log_batch
from tests.collectors.fake_bus import FakeBus, log_bodies, unique
from tests.collectors.waiting import wait_for

MIB = 1024 * 1024


class Edge:
    """A bus that can be away, with a spool behind it."""

    def __init__(self, folder: Path, bus: Appender, bytes_max: int = MIB, free_bytes: int = 1 << 30) -> None:
        self.dropped: list[Message] = []
        self.refused: list[Message] = []
        self.free_bytes = free_bytes
        self.spool = Spool(
            folder, bytes_max=bytes_max, dropped=lambda messages, _: self.dropped.extend(messages),
            free_bytes=lambda _: self.free_bytes,
        )  # fmt: skip
        self.bus = SpooledBus(bus, self.spool, self.refused.extend, uniform=lambda: 0.01)
        self.bus.start()

    def is_empty(self) -> bool:
        return self.bus.status()["spool_bytes"] == 0

    def close(self) -> None:
        self.bus.close(5.0)


Make = Callable[..., Edge]


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def make(tmp_path: Path, bus: FakeBus) -> Iterator[Make]:
    """Opens edges on one folder; they are closed at the end."""
    made: list[Edge] = []

    def make(over: Appender = bus, folder: Path = tmp_path / "spool", **options: int) -> Edge:
        edge = Edge(folder, over, **options)
        made.append(edge)
        return edge

    yield make
    for edge in made:
        edge.close()


def opened(edge: Edge) -> Edge:
    assert wait_for(lambda: edge.bus.is_open)
    return edge


def test_while_the_bus_is_there_nothing_is_spooled(make: Make, bus: FakeBus) -> None:
    edge = opened(make())
    edge.bus.produce([log_batch("a")])
    assert log_bodies(bus.log) == ["a"]
    assert (edge.bus.status()["spool_bytes"], edge.bus.status()["note"]) == (0, "")


def test_what_comes_while_the_bus_is_away_is_delivered_once_with_the_attempt_counted_up(
    make: Make, bus: FakeBus
) -> None:
    edge = opened(make())
    bus.down = True
    batches = [log_batch(str(i)) for i in range(50)]
    for batch in batches:
        edge.bus.produce([batch])
    status = edge.bus.status()
    assert (status["spool_batches"], status["note"]) == (50, AWAY)
    bus.down = False
    assert wait_for(edge.is_empty)
    assert sorted(sequences(bus.log)) == sorted(sequences(batches))
    assert set(attempts(bus.log)) == {1}
    assert log_bodies(bus.log) == [str(i) for i in range(50)]
    edge.bus.produce([log_batch("after")])
    assert log_bodies(bus.log)[-1] == "after"
    assert edge.bus.status()["note"] == ""


def test_while_the_bus_is_known_to_be_away_nobody_waits_for_it(make: Make) -> None:
    asked = threading.Semaphore(0)
    done = threading.Event()

    class Silent:
        def produce(self, messages: Sequence[Message]) -> None:
            asked.release()
            done.wait(60)
            raise BusUnavailableError("no answer")

    edge = opened(make(over=Silent()))
    edge.bus.hurry()
    edge.bus.produce([log_batch("0")])
    edge.bus.produce([log_batch("1")])
    assert asked.acquire(timeout=10)
    assert edge.bus.status()["spool_batches"] == 2
    done.set()


def test_a_restart_in_between_loses_nothing(make: Make, bus: FakeBus) -> None:
    edge = opened(make())
    bus.down = True
    edge.bus.produce([log_batch("a"), log_batch("b")])
    edge.close()
    bus.down = False
    again = make()
    assert wait_for(lambda: log_bodies(bus.log) == ["a", "b"])
    assert wait_for(again.is_empty)


def test_a_lost_answer_is_spooled_and_the_bus_holds_one_identity_twice(make: Make, bus: FakeBus) -> None:
    edge = opened(make())
    bus.lose_answers = 1
    edge.bus.produce([log_batch("a")])
    assert wait_for(edge.is_empty)
    assert attempts(bus.log) == [0, 1]
    assert log_bodies(bus.log) == ["a"]


def test_over_the_limit_the_oldest_are_dropped_by_name(make: Make, bus: FakeBus) -> None:
    batches = [log_batch(f"{i} " + "x" * 30_000) for i in range(12)]
    edge = opened(make(bytes_max=130_000))
    bus.down = True
    for batch in batches:
        edge.bus.produce([batch])
        assert edge.spool.oldest() is not None  # which seals the segment: each batch has its own
    gone = sequences(edge.dropped)
    assert gone == sequences(batches[: len(gone)])
    assert gone
    bus.down = False
    assert wait_for(edge.is_empty)
    assert sequences(bus.log) == sequences(batches[len(gone) :])


def test_a_spool_without_room_leaves_it_to_the_bus(make: Make, bus: FakeBus) -> None:
    edge = opened(make(free_bytes=0))
    bus.down = True
    with pytest.raises(BusUnavailableError, match="down"):
        edge.bus.produce([log_batch("a")])
    assert "no room" in str(edge.bus.status()["note"])
    bus.down = False
    edge.bus.produce([log_batch("b")])
    assert log_bodies(bus.log) == ["b"]
    assert edge.bus.status()["note"] == ""


def test_a_spool_that_fills_up_while_the_bus_is_away_asks_the_bus_again(make: Make, bus: FakeBus) -> None:
    edge = opened(make())
    bus.down = True
    edge.bus.produce([log_batch("a")])
    edge.free_bytes = 0
    with pytest.raises(BusUnavailableError):
        edge.bus.produce([log_batch("b")])
    assert log_bodies(edge.dropped) == ["a"]


def test_a_folder_that_cannot_be_used_is_as_no_spool(make: Make, bus: FakeBus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    edge = make(folder=tmp_path / "file" / "spool")
    edge.bus.produce([log_batch("a")])
    bus.down = True
    with pytest.raises(BusUnavailableError, match="down"):
        edge.bus.produce([log_batch("b")])
    assert wait_for(lambda: "cannot be made" in str(edge.bus.status()["note"]))
    assert log_bodies(bus.log) == ["a"]


def test_a_folder_that_takes_long_to_open_holds_up_nobody(
    make: Make, bus: FakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    own = spool_folder.own

    def slow(folder: Path) -> spool_folder.Owner:
        go_on.wait(60)
        return own(folder)

    monkeypatch.setattr(spool, "own", slow)
    edge = make()
    edge.bus.produce([log_batch("a")])
    bus.down = True
    with pytest.raises(BusUnavailableError, match="down"):
        edge.bus.produce([log_batch("b")])
    assert log_bodies(bus.log) == ["a"]
    go_on.set()
    opened(edge).bus.produce([log_batch("c")])
    bus.down = False
    assert wait_for(lambda: log_bodies(bus.log) == ["a", "c"])


def test_a_folder_that_another_agent_uses_is_as_no_spool(make: Make, bus: FakeBus) -> None:
    opened(make())
    edge = make()
    assert wait_for(lambda: "another process uses" in str(edge.bus.status()["note"]))
    bus.down = True
    with pytest.raises(BusUnavailableError, match="down"):
        edge.bus.produce([log_batch("a")])


def test_what_the_bus_never_takes_is_named_and_the_rest_goes_on(make: Make, bus: FakeBus) -> None:
    edge = opened(make())
    bus.down = True
    bad = Message("nowhere", 0, log_batch("x").headers, b"")
    edge.bus.produce([log_batch("before"), bad, log_batch("after")])
    bus.down = False
    assert wait_for(edge.is_empty)
    assert log_bodies(bus.log) == ["before", "after"]
    assert sequences(edge.refused) == sequences([bad])


def test_a_bus_that_lost_a_topic_of_ours_is_no_fault_of_a_batch(make: Make) -> None:
    class Bare(FakeBus):
        is_bare = False

        def produce(self, messages: Sequence[Message]) -> Sequence[int]:
            if self.is_bare:
                raise UnknownTopicError(messages[0].topic)
            return super().produce(messages)

    bus = Bare()
    edge = opened(make(over=bus))
    bus.down = True
    edge.bus.produce([log_batch("a")])
    bus.is_bare = True
    assert wait_for(lambda: "cannot be delivered" in str(edge.bus.status()["note"]))
    bus.is_bare = bus.down = False
    assert wait_for(edge.is_empty)
    assert log_bodies(bus.log) == ["a"]
    assert not edge.refused
    assert edge.bus.status()["note"] == ""


def test_what_is_too_large_for_the_bus_is_said_while_it_is_away(make: Make, bus: FakeBus) -> None:
    edge = opened(make())
    bus.down = True
    with pytest.raises(OversizeError):
        edge.bus.produce([Message("logs", 0, (), bytes(MESSAGE_BYTES_MAX + 1))])
    assert edge.is_empty()


def test_a_segment_that_alone_fails_does_not_keep_new_batches_from_the_bus(make: Make) -> None:
    class Picky(FakeBus):
        def produce(self, messages: Sequence[Message]) -> Sequence[int]:
            if self.down or any(b"poison" in m.body for m in messages):
                raise BusUnavailableError("down")
            return super().produce(messages)

    bus = Picky()
    edge = opened(make(over=bus))
    edge.bus.produce([log_batch("poison")])
    fine = [log_batch(str(i)) for i in range(1000)]

    def got_through() -> bool:
        edge.bus.produce([fine.pop()])
        return bool(bus.log)

    assert wait_for(got_through)


def test_the_outbox_closes_into_the_spool(make: Make, bus: FakeBus) -> None:
    edge = opened(make())
    outbox = Outbox(edge.bus, linger_s=60)
    bus.down = True
    future = outbox.submit([log_batch("a")])
    edge.bus.hurry()
    outbox.close()
    future.result(0)
    edge.close()
    bus.down = False
    make()
    assert wait_for(lambda: log_bodies(bus.log) == ["a"])


@pytest.mark.parametrize("bytes_max", [60_000, MIB])
def test_whatever_the_bus_does_each_acknowledged_batch_is_delivered_or_named(
    make: Make, bus: FakeBus, bytes_max: int
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    dropped: list[Message] = []
    for _ in range(6):
        edge = opened(make(bytes_max=bytes_max))
        outbox = Outbox(edge.bus, linger_s=0.0)
        for _ in range(20):
            bus.down = chance.random() < 0.6
            bus.lose_answers = chance.randrange(2)
            batches = [log_batch("x" * chance.randrange(2000)) for _ in range(chance.randint(1, 5))]
            outbox.submit(batches).result(20)
            acknowledged.update(sequences(batches))
        edge.bus.hurry()
        outbox.close()
        edge.close()
        dropped += edge.dropped
    bus.down, bus.lose_answers = False, 0
    last = make(bytes_max=bytes_max)
    assert wait_for(lambda: last.bus.is_open and last.is_empty()), seed
    delivered = unique(bus.log)
    assert set(sequences(delivered)) | set(sequences(dropped)) == acknowledged, seed
    assert not dropped or bytes_max < MIB, seed


def test_a_call_without_an_answer_is_given_up_and_there_is_never_a_second_one() -> None:
    calls: list[int] = []
    go_on = threading.Event()

    class Slow:
        def produce(self, messages: Sequence[Message]) -> None:
            calls.append(len(messages))
            go_on.wait(60)

    patient = PatientBus(Slow(), patience_s=0.01)
    for _ in range(3):
        with pytest.raises(BusUnavailableError):
            patient.produce([])
    assert len(calls) == 1
    go_on.set()
    patient.hurry()
    patient.hurry()

    def is_done() -> bool:
        try:
            patient.produce([])
        except BusUnavailableError:
            return False
        return True

    assert wait_for(is_done)
