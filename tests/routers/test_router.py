from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.port import Bus, TopicPartition
from bus.sqlite import SqliteBus
from heliograph import contracts
from sinks.memory import MemorySink
from sinks.port import Cut, CutLimits, Written
from tests.routers.memory_bus import MemoryBus
from tests.routers.running import GROUP, LIMITS, eventually, log_message, running

TOPICS = {
    contracts.METRICS_TOPIC: 4,
    contracts.LOGS_TOPIC: 4,
    contracts.TRACES_TOPIC: 4,
    "telemetry.deadletters.memory": 1,
}


@pytest.fixture(params=["memory", "sqlite"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bus]:
    made: Bus = MemoryBus() if request.param == "memory" else SqliteBus(tmp_path / "bus" / "bus.db")
    made.create_topics(TOPICS)
    with contextlib.closing(made):
        yield made


def committed_all(bus: Bus) -> bool:
    ends = bus.end_offsets(contracts.LOGS_TOPIC)
    committed = bus.committed(GROUP, contracts.LOGS_TOPIC)
    return all(committed.get(p, 0) == end for p, end in ends.items())


def bodies(sink: MemorySink) -> list[bytes]:
    return sorted(r.body for r in sink.records.values())


def test_every_record_reaches_the_store_and_is_committed_after(bus: Bus) -> None:
    sink = MemorySink(LIMITS)
    sent = [log_message(f"line {i}", partition=i % 4) for i in range(40)]
    with running(bus, sink) as it:
        bus.produce(sent[:20])
        eventually(lambda: committed_all(bus))
        bus.produce(sent[20:])
        eventually(lambda: len(sink.records) == 40 and committed_all(bus))
        eventually(lambda: it.router.status().ready and it.router.status().gathered_bytes == 0)
        assert it.value("heliograph_router_records_total", store="memory", outcome="stored") == 40
        assert it.value("heliograph_router_items_total", store="memory") == 40
        lag = {"store": "memory", "topic": contracts.LOGS_TOPIC, "partition": "0"}
        assert it.registry.get_sample_value("heliograph_router_lag_offsets", lag) == 0
    assert bodies(sink) == sorted(m.body for m in sent)
    assert sink.closed


def test_ranges_follow_one_another_without_a_hole(bus: Bus) -> None:
    sink = MemorySink(LIMITS)
    with running(bus, sink):
        for i in range(30):
            bus.produce([log_message(f"{i}" * 3000, partition=0)])
        eventually(lambda: committed_all(bus))
    ranges = [r for cut in sink.cuts for r in cut.ranges]
    assert [r.first for r in ranges] == [0, *(r.next for r in ranges[:-1])]
    assert ranges[-1].next == 30
    assert len(ranges) > 1


def test_a_store_that_is_away_gets_the_same_cut_again(bus: Bus) -> None:
    sink = MemorySink(LIMITS)
    with running(bus, sink) as it:
        eventually(lambda: it.router.status().ready and it.router.status().partitions == 12)
        sink.unavailable = "the store is down for a test"
        bus.produce([log_message("kept", partition=1)])
        eventually(lambda: not it.router.status().ready)
        assert it.router.status().reasons == ("the store is down for a test",)
        assert bus.committed(GROUP, contracts.LOGS_TOPIC).get(1, 0) == 0
        sink.unavailable = ""
        eventually(lambda: committed_all(bus) and it.router.status().ready)
        assert it.value("heliograph_router_retries_total", store="memory", fault="store") >= 1
    (cut,) = sink.cuts
    assert all(cut.maybe_written(record) for record in cut.records)


def test_a_new_router_reads_again_what_was_written_but_not_committed(bus: Bus) -> None:
    sink = MemorySink(LIMITS)

    class DiesAfterTheWrite(MemorySink):
        def write(self, cut: Cut) -> Written:
            sink.write(cut)
            raise SystemExit("killed between write and commit")

    first = DiesAfterTheWrite(LIMITS)
    bus.produce([log_message("once", partition=0)])
    with contextlib.suppress(AssertionError), running(bus, first, drain_s=0.1):
        eventually(lambda: sink.cuts)
    assert not bus.committed(GROUP, contracts.LOGS_TOPIC)
    with running(bus, sink):
        eventually(lambda: committed_all(bus))
    assert len(sink.cuts) == 2
    assert len(sink.records) == 1
    (record,) = sink.cuts[1].records
    assert sink.cuts[1].maybe_written(record)


def test_the_store_says_where_reading_goes_on(bus: Bus) -> None:
    sink = MemorySink(LIMITS)
    bus.produce([log_message(str(i), partition=0) for i in range(5)])
    with running(bus, sink):
        eventually(lambda: committed_all(bus))
    emptied = MemorySink(LIMITS)
    emptied.store_resumes = True
    with running(bus, emptied):
        eventually(lambda: len(emptied.records) == 5)


def test_a_record_fault_becomes_a_dead_letter_before_its_offset_is_committed(bus: Bus) -> None:
    sink = MemorySink(LIMITS, lambda record: ("not_avro", "it is a test") if b"bad" in record.body else None)
    bus.produce([log_message("good", partition=0), log_message("bad", partition=0)])
    with running(bus, sink) as it:
        eventually(lambda: committed_all(bus))
        assert it.value("heliograph_router_records_total", store="memory", outcome="dead_lettered") == 1
        assert it.value("heliograph_router_records_total", store="memory", outcome="stored") == 1
    assert bus.end_offsets("telemetry.deadletters.memory")[0] == 1
    assert len(sink.records) == 1


def test_what_is_gathered_at_stop_is_written_and_committed(bus: Bus) -> None:
    sink = MemorySink(LIMITS)
    sink.limits = CutLimits(age_s=3600.0, first_age_s=3600.0, bytes_max=1024 * 1024)
    bus.produce([log_message("last words", partition=0)])
    with running(bus, sink) as it:
        eventually(lambda: it.router.status().gathered_bytes > 0)
        assert not sink.cuts
    assert committed_all(bus)
    assert len(sink.records) == 1


def test_two_members_share_the_work_and_lose_nothing(bus: Bus) -> None:
    one, two = MemorySink(LIMITS), MemorySink(LIMITS)
    with running(bus, one, "one"):
        bus.produce([log_message(f"a{i}", partition=i % 4) for i in range(8)])
        eventually(lambda: committed_all(bus))
        with running(bus, two, "two") as second:
            eventually(lambda: second.router.status().partitions == 6)
            bus.produce([log_message(f"b{i}", partition=i % 4) for i in range(8)])
            eventually(lambda: committed_all(bus))
        bus.produce([log_message(f"c{i}", partition=i % 4) for i in range(8)])
        eventually(lambda: committed_all(bus))
    assert len(one.records | two.records) == 24
    assert two.records


def test_a_partition_without_a_record_is_never_committed(bus: Bus) -> None:
    sink = MemorySink(LIMITS)
    bus.produce([log_message("one", partition=2)])
    with running(bus, sink):
        eventually(lambda: committed_all(bus))
    assert set(bus.committed(GROUP, contracts.LOGS_TOPIC)) == {2}
    assert TopicPartition(contracts.LOGS_TOPIC, 2) in {r.where for r in sink.cuts[0].ranges}
