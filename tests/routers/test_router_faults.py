"""What a router survives, on a bus that misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from bus.errors import FencedError
from bus.port import Record, TopicPartition
from heliograph import contracts
from sinks.memory import MemorySink
from sinks.port import Cut, CutLimits, Written
from tests.routers import memory_bus
from tests.routers.memory_bus import MemoryBus, MemoryConsumer
from tests.routers.running import GROUP, LIMITS, eventually, log_message, running

LOGS = TopicPartition(contracts.LOGS_TOPIC, 0)
DEAD = TopicPartition("telemetry.deadletters.memory", 0)


class GatedSink(MemorySink):
    """Stands still inside write() until the gate is opened."""

    def __init__(self, limits: CutLimits) -> None:
        super().__init__(limits)
        self.entered = threading.Event()
        self.gate = threading.Event()

    def write(self, cut: Cut) -> Written:
        self.entered.set()
        assert self.gate.wait(20)
        return super().write(cut)


@pytest.fixture
def bus() -> MemoryBus:
    made = MemoryBus()
    made.create_topics({LOGS.topic: 2, DEAD.topic: 1})
    return made


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink(LIMITS)


def committed(bus: MemoryBus, where: TopicPartition = LOGS) -> int | None:
    return bus.commits.get((GROUP, where))


def test_a_consumer_that_stays_fenced_is_left_and_joined_anew(
    bus: MemoryBus, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[MemoryConsumer] = []

    class DeadOnce(MemoryConsumer):
        """The first to be made never reads again, as librdkafka's does after a fatal error."""

        def poll(self, timeout_s: float, bytes_max: int) -> Sequence[Record]:
            if not broken:
                broken.append(self)
            if self is broken[0]:
                raise FencedError("another process has taken this member's place")
            return super().poll(timeout_s, bytes_max)

    monkeypatch.setattr(memory_bus, "MemoryConsumer", DeadOnce)
    bus.produce([log_message("a", partition=0)])
    with running(bus, sink) as it:
        eventually(lambda: committed(bus) == 1, lambda: str(it.router.status()))
    assert len([record for cut in sink.cuts for record in cut.records]) == 1


def test_offsets_that_are_never_delivered_are_committed(bus: MemoryBus, sink: MemorySink) -> None:
    bus.skip_offsets(LOGS, 3)
    bus.produce([log_message("a", partition=0)])
    bus.skip_offsets(LOGS, 2)
    with running(bus, sink):
        eventually(lambda: committed(bus) == 6)
        bus.skip_offsets(LOGS, 1)
        eventually(lambda: committed(bus) == 7)
    ranges = [r for cut in sink.cuts for r in cut.ranges]
    assert [r.first for r in ranges] == [0, *(r.next for r in ranges[:-1])]


def test_a_fenced_commit_is_dropped_and_the_work_comes_again(bus: MemoryBus) -> None:
    sink = GatedSink(LIMITS)
    bus.produce([log_message("again", partition=0)])
    with running(bus, sink) as it:
        assert sink.entered.wait(20)
        bus.fence()
        eventually(lambda: it.beats > 3)
        assert committed(bus) is None
        sink.gate.set()
        eventually(lambda: committed(bus) == 1)
    assert len(sink.cuts) == 2
    assert len(bus.commit_log) == 1
    assert len(sink.records) == 1


def test_a_partition_revoked_while_its_cut_is_written_is_not_committed(bus: MemoryBus) -> None:
    sink, other = GatedSink(LIMITS), MemorySink(LIMITS)
    bus.produce([log_message("zero", partition=0), log_message("one", partition=1)])
    with running(bus, sink, "b"):
        assert sink.entered.wait(20)
        with running(bus, other, "a"):
            eventually(lambda: committed(bus) == 1)
            sink.gate.set()
            eventually(lambda: committed(bus, TopicPartition(LOGS.topic, 1)) == 1)
    assert [{w.partition for w in offsets} for offsets in bus.commit_log] == [{0}, {1}]
    assert {where.partition for _, where, _ in other.records} == {0}


def test_a_cut_that_is_tried_again_leaves_out_what_was_revoked(bus: MemoryBus, sink: MemorySink) -> None:
    with running(bus, sink, "b") as it:
        eventually(lambda: it.router.status().ready and it.router.status().partitions == 2)
        sink.unavailable = "away"
        bus.produce([log_message("zero", partition=0), log_message("one", partition=1)])
        eventually(lambda: it.router.status().reasons == ("away",))
        other = MemorySink(LIMITS)
        with running(bus, other, "a"):
            eventually(lambda: it.router.status().partitions == 1)
            sink.unavailable = ""
            eventually(lambda: committed(bus) == 1 and committed(bus, TopicPartition(LOGS.topic, 1)) == 1)
            assert {r.partition for cut in sink.cuts for r in cut.records} == {1}
            assert {r.partition for cut in other.cuts for r in cut.records} == {0}


def test_gathering_pauses_at_the_budget_and_goes_on_below_it(bus: MemoryBus) -> None:
    sink = GatedSink(LIMITS)
    sent = [log_message("x" * 10_000, partition=i % 2) for i in range(60)]
    bus.produce(sent)
    with running(bus, sink, bytes_budget=100_000) as it:
        assert sink.entered.wait(20)
        consumer = bus.members["one"]
        eventually(lambda: consumer.paused == set(consumer.positions))
        beats = it.beats
        eventually(lambda: it.beats > beats + 5)
        assert it.router.status().gathered_bytes < 130_000
        sink.gate.set()
        eventually(lambda: committed(bus) == 30)
        eventually(lambda: len(sink.records) == 60)
        eventually(lambda: not consumer.paused)


def test_a_bus_that_is_away_is_waited_for(bus: MemoryBus, sink: MemorySink) -> None:
    bus.unavailable = "the bus' disk is full"
    with running(bus, sink) as it:
        eventually(lambda: it.router.status().reasons == ("the bus' disk is full",))
        bus.unavailable = ""
        bus.produce([log_message("a", partition=0)])
        eventually(lambda: committed(bus) == 1 and it.router.status().ready)
        bus.unavailable = "away again"
        eventually(lambda: "away again" in it.router.status().reasons)
        assert it.registry.get_sample_value("heliograph_router_ready", {"store": "memory"}) == 0
        bus.unavailable = ""
        bus.produce([log_message("b", partition=0)])
        eventually(lambda: committed(bus) == 2 and it.router.status().ready)
    assert len(sink.records) == 2


def test_a_bus_that_goes_away_before_the_commit_gets_it_later(bus: MemoryBus) -> None:
    sink = GatedSink(LIMITS)
    bus.produce([log_message("a", partition=0)])
    with running(bus, sink) as it:
        assert sink.entered.wait(20)
        bus.unavailable = "away"
        sink.gate.set()
        eventually(lambda: sink.cuts and not it.router.status().ready)
        assert committed(bus) is None
        bus.unavailable = ""
        eventually(lambda: committed(bus) == 1)


def test_nothing_is_committed_before_its_dead_letter_is_acknowledged(bus: MemoryBus, sink: MemorySink) -> None:
    sink.judge = lambda record: ("not_avro", "a test")
    with running(bus, sink) as it:
        eventually(lambda: it.router.status().ready and it.router.status().partitions == 2)
        taken = bus.logs.pop(DEAD)
        bus.produce([log_message("bad", partition=0)])
        eventually(lambda: not it.router.status().ready)
        assert committed(bus) is None
        bus.logs[DEAD] = taken
        eventually(lambda: committed(bus) == 1)
    assert len(bus.logs[DEAD]) == 1


def test_a_gap_after_a_commit_is_counted_and_reading_goes_on_at_the_log_start(bus: MemoryBus, sink: MemorySink) -> None:
    bus.produce([log_message("kept", partition=0)])
    with running(bus, sink):
        eventually(lambda: committed(bus) == 1)
    bus.produce([log_message(str(i), partition=0) for i in range(9)])
    bus.expire(LOGS, 6)
    with running(bus, sink) as it:
        eventually(lambda: committed(bus) == 10)
        assert it.value("heliograph_router_offsets_lost_total", store="memory") == 5
    assert sorted(offset for _, _, offset in sink.records) == [0, 6, 7, 8, 9]
    assert [(r.first, r.next) for cut in sink.cuts for r in cut.ranges if r.where == LOGS] == [(0, 1), (6, 10)]


def test_what_was_gathered_before_a_gap_is_written_in_a_range_of_its_own(bus: MemoryBus) -> None:
    sink = MemorySink(CutLimits(age_s=3600, first_age_s=3600, bytes_max=1 << 20))
    bus.produce([log_message("kept", partition=0)])
    with running(bus, sink) as it:
        eventually(lambda: it.router.status().gathered_bytes > 0)
        with bus.lock:
            bus.skip_offsets(LOGS, 4)
            bus.members["one"].positions[LOGS] = 1
            bus.produce([log_message("after", partition=0)])
            bus.expire(LOGS, 5)
        eventually(lambda: committed(bus) == 1 and it.router.status().gathered_bytes > 0)
    assert [(r.first, r.next) for cut in sink.cuts for r in cut.ranges] == [(0, 1), (5, 6)]


def test_a_group_that_comes_after_the_log_has_expired_has_lost_nothing(bus: MemoryBus, sink: MemorySink) -> None:
    bus.produce([log_message(str(i), partition=0) for i in range(5)])
    bus.expire(LOGS, 3)
    with running(bus, sink) as it:
        eventually(lambda: committed(bus) == 5)
        assert it.value("heliograph_router_offsets_lost_total", store="memory") == 0
    assert sink.cuts[0].ranges[0].first == 3


def test_a_store_that_is_ahead_of_the_log_stops_that_partition_only(bus: MemoryBus, sink: MemorySink) -> None:
    sink.store_resumes = True
    sink.written_below[f"log-of-{LOGS.topic}", LOGS] = 50
    bus.produce([log_message("zero", partition=0), log_message("one", partition=1)])
    with running(bus, sink) as it:
        eventually(lambda: committed(bus, TopicPartition(LOGS.topic, 1)) == 1)
        (reason,) = it.router.status().reasons
        assert "up to offset 50, the log ends at 1" in reason
    assert committed(bus) is None


def test_a_store_that_hangs_is_left_behind_at_the_deadline(bus: MemoryBus) -> None:
    sink = GatedSink(LIMITS)
    bus.produce([log_message("a", partition=0)])
    with running(bus, sink, drain_s=0.1):
        assert sink.entered.wait(20)
    assert committed(bus) is None
    assert not bus.members
    sink.gate.set()


def test_a_store_that_is_down_does_not_hold_up_the_stop(bus: MemoryBus, sink: MemorySink) -> None:
    bus.produce([log_message("a", partition=0)])
    with running(bus, sink, drain_s=3600) as it:
        eventually(lambda: it.router.status().ready and it.router.status().partitions == 2)
        sink.unavailable = "down"
        bus.produce([log_message("b", partition=0)])
        eventually(lambda: it.router.status().reasons == ("down",))
    assert sink.closed


def test_an_error_of_the_sink_that_nobody_expected_drops_nothing(bus: MemoryBus) -> None:
    class Broken(MemorySink):
        broken = True

        def write(self, cut: Cut) -> Written:
            if self.broken:
                raise KeyError("a bug")
            return super().write(cut)

    sink = Broken(LIMITS)
    bus.produce([log_message("a", partition=0)])
    with running(bus, sink) as it:
        eventually(lambda: it.router.status().reasons == ("unexpected error: KeyError: 'a bug'",))
        sink.broken = False
        eventually(lambda: committed(bus) == 1)


def test_a_member_whose_name_another_process_took_backs_off_and_says_so(bus: MemoryBus, sink: MemorySink) -> None:
    with running(bus, sink) as it:
        eventually(lambda: it.router.status().ready and it.router.status().partitions == 2)
        bus.members["one"].replaced = True
        eventually(lambda: it.router.status().reasons == ("another one took this one's place",))
    assert sink.closed
