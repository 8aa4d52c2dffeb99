from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from archive import manifest
from archive.manifest import ROOT, Chain, Entry
from archive.memory import MemoryObjects
from archive.port import ArchiveUnavailableError, ObjectStore
from archive.reader import Archived, Selection, read_archive
from archive.sweep import sweep
from bus.port import Record, TopicPartition
from bus.registry import UnknownSchemaError
from heliograph import contracts
from heliograph.contracts import Schema
from heliograph.framing import frame
from heliograph.message import Message
from sinks.decode import WriterSchemas
from sinks.objects import ObjectSink
from sinks.port import Cut, Range, StoreUnavailableError
from tests.routers.running import log_message

HOUR_NS = 3_600_000_000_000
NOON_NS = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
LOG_ID = "7b0e6c1e-0000-4000-8000-000000000001"
LOGS = TopicPartition(contracts.LOGS_TOPIC, 3)
CHAIN = Chain(LOGS.topic, LOG_ID, LOGS.partition)


class NewRegistry:
    """A registry whose schemas a test sets."""

    def __init__(self) -> None:
        self.schemas: dict[int, Schema] = {}

    def register(self, subject: str, schema: Schema) -> int:
        raise AssertionError("not used")

    def schema(self, schema_id: int) -> Schema:
        if schema_id not in self.schemas:
            raise UnknownSchemaError(schema_id)
        return self.schemas[schema_id]

    def versions(self, subject: str) -> dict[int, int]:
        return {}


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def sink(objects: MemoryObjects) -> ObjectSink:
    return sink_on(objects)


def sink_on(objects: ObjectStore, writer: str = "w1", registry: NewRegistry | None = None) -> ObjectSink:
    clock = iter(range(0, 10_000, 100))
    return ObjectSink(objects, WriterSchemas(registry or NewRegistry(), clock=lambda: float(next(clock))), writer)


def record(offset: int, message: Message | None = None, **changes: bytes) -> Record:
    message = message or log_message(f"line {offset}", NOON_NS)
    headers = tuple((k, changes.get(k.removeprefix("hg."), v)) for k, v in message.headers)
    return Record(LOGS.topic, LOGS.partition, offset, 1_795_435_201_000 + offset, headers, message.body)


def cut_of(records: Sequence[Record], first: int | None = None, next_: int | None = None) -> Cut:
    first = records[0].offset if first is None else first
    next_ = records[-1].offset + 1 if next_ is None else next_
    return Cut((Range(LOGS, LOG_ID, first, next_),), records, {})


def archived(objects: ObjectStore, **selected: int | str) -> list[Archived]:
    return list(read_archive(objects, Selection(LOGS.topic, **selected), distinct=False))  # type: ignore[arg-type]


def ranges(objects: ObjectStore) -> list[tuple[int, int]]:
    return [(e.first, e.next) for e in manifest.entries(objects)]


def test_records_read_back_as_the_log_delivered_them(objects: MemoryObjects, sink: ObjectSink) -> None:
    records = [record(i) for i in range(5)]
    written = sink.write(cut_of(records))
    assert (written.items, written.faults, written.duplicates) == (5, (), 0)
    found = archived(objects)
    assert [a.record for a in found] == records
    assert {(a.log_id, a.tenant, a.schema_text) for a in found} == {
        (LOG_ID, "default", contracts.schema("log_batch").text)
    }


def test_objects_stand_by_tenant_topic_and_event_hour(objects: MemoryObjects, sink: ObjectSink) -> None:
    records = [
        record(0),
        record(1, log_message("later", NOON_NS + HOUR_NS)),
        record(2, tenant=b"acme"),
        record(3, tenant=b"../../etc/passwd"),
        record(4, tenant=b"_manifest"),
    ]
    sink.write(cut_of(records))
    tail = f"{LOG_ID}/00003/{0:020d}-{5:020d}-w1.avro"
    assert sorted(k for k in objects.objects if not k.startswith(ROOT)) == [
        f"%2E.%2F..%2Fetc%2Fpasswd/telemetry.logs/2026/11/23/12/{tail}",
        f"%5Fmanifest/telemetry.logs/2026/11/23/12/{tail}",
        f"acme/telemetry.logs/2026/11/23/12/{tail}",
        f"default/telemetry.logs/2026/11/23/12/{tail}",
        f"default/telemetry.logs/2026/11/23/13/{tail}",
    ]
    assert [k for k in objects.objects if k.startswith(ROOT)] == [manifest.entry_key(CHAIN, 0)]
    assert len(archived(objects, tenant="acme")) == 1


def test_messages_of_two_schemas_are_in_two_objects(objects: MemoryObjects) -> None:
    registry = NewRegistry()
    registry.schemas[77] = contracts.schema("log_batch")
    plain = log_message("x", NOON_NS)
    other = Record(LOGS.topic, 3, 1, 5, (), frame(77) + plain.body[5:])
    sink_on(objects, registry=registry).write(
        cut_of([record(0, plain), replace(other, append_time_ms=NOON_NS // 10**6)])
    )
    keys = sorted(k for k in objects.objects if not k.startswith(ROOT))
    assert [k.rsplit("-", 1)[1] for k in keys] == ["1.avro", "w1.avro"]
    assert sorted(a.record.body for a in archived(objects)) == sorted([plain.body, other.body])


def test_an_event_time_of_any_year_has_a_folder(objects: MemoryObjects, sink: ObjectSink) -> None:
    edges = (-(2**63), -1, 2**63 - 1)
    times = [t.to_bytes(8, "big", signed=True) for t in edges]
    sink.write(cut_of([record(i, time_min_ns=t, time_max_ns=t) for i, t in enumerate(times)]))
    hours = sorted("/".join(k.split("/")[2:6]) for k in objects.objects if not k.startswith(ROOT))
    assert hours == ["1677/09/21/00", "1969/12/31/23", "2262/04/11/23"]


def test_a_body_that_does_not_match_its_crc_is_a_fault(objects: MemoryObjects, sink: ObjectSink) -> None:
    good, bad = record(0), record(1)
    bad = replace(bad, body=bad.body[:-1] + b"\x07")
    written = sink.write(cut_of([good, bad]))
    assert [(f.record, f.reason) for f in written.faults] == [(bad, "crc_mismatch")]
    assert [a.record for a in archived(objects)] == [good]


def test_a_body_without_a_crc_is_decoded_first(objects: MemoryObjects, sink: ObjectSink) -> None:
    bare = replace(record(0), headers=())
    cut_short = replace(record(1), headers=(), body=record(1).body[:-3])
    no_avro = replace(record(2), headers=(), body=b"rubbish")
    written = sink.write(cut_of([bare, cut_short, no_avro]))
    assert written.items == 1
    assert [(f.record.offset, f.reason) for f in written.faults] == [(1, "not_avro"), (2, "not_avro")]
    assert [a.record for a in archived(objects)] == [bare]


@pytest.mark.parametrize(
    ("header", "value"), [("tenant", b"\xff"), ("tenant", b""), ("tenant", b"x" * 65), ("time_min_ns", b"123")]
)
def test_headers_that_give_no_place_are_a_fault(sink: ObjectSink, header: str, value: bytes) -> None:
    written = sink.write(cut_of([record(0, None, **{header: value})]))
    assert [f.reason for f in written.faults] == ["bad_headers"]


def test_an_unknown_schema_waits_for_the_registry_before_it_is_a_fault(objects: MemoryObjects) -> None:
    sink = sink_on(objects)
    unknown = replace(record(0), headers=(), body=frame(99) + record(0).body[5:])
    with pytest.raises(StoreUnavailableError):
        sink.write(cut_of([unknown]))
    assert objects.objects == {}
    assert [f.reason for f in sink.write(cut_of([unknown])).faults] == ["unknown_schema"]


def test_reading_goes_on_at_the_end_of_the_chain(objects: MemoryObjects, sink: ObjectSink) -> None:
    assert sink.resume(LOG_ID, LOGS) == 0
    sink.write(cut_of([record(0), record(1)], next_=5))
    assert sink.resume(LOG_ID, LOGS) == 5
    assert sink.resume("another log", LOGS) == 0
    sink.write(cut_of([record(7)], first=5))
    assert sink_on(objects, "w2").resume(LOG_ID, LOGS) == 8
    assert ranges(objects) == [(0, 5), (5, 8)]


def test_a_cut_that_comes_again_changes_nothing(objects: MemoryObjects, sink: ObjectSink) -> None:
    cut = cut_of([record(i) for i in range(4)])
    sink.write(cut)
    before = dict(objects.objects)
    for writer in ("w1", "w2"):
        written = sink_on(objects, writer).write(cut)
        assert (written.items, written.duplicates) == (4, 4)
    assert objects.objects == before


@pytest.mark.parametrize(("first", "next_"), [(0, 6), (0, 2), (2, 3), (2, 7), (4, 7)])
def test_a_replay_with_other_cuts_shows_nothing_twice(objects: MemoryObjects, first: int, next_: int) -> None:
    records = [record(i) for i in range(7)]
    sink_on(objects, "w1").write(cut_of(records[:2]))
    sink_on(objects, "w1").write(cut_of(records[2:4]))
    written = sink_on(objects, "w2").write(cut_of(records[first:next_]))
    end = max(4, next_)
    assert [a.record for a in archived(objects)] == records[:end]
    assert written.items == next_ - first
    assert written.duplicates == len([r for r in records[first:next_] if r.offset < 4])
    entries = ranges(objects)
    assert [first for first, _ in entries] == [0, *(n for _, n in entries[:-1])]


def test_a_zombie_that_wakes_between_object_and_entry_loses_and_goes_on(objects: MemoryObjects) -> None:
    records = [record(i) for i in range(6)]
    other = sink_on(objects, "new-owner")

    def wake(key: str) -> None:
        if key == manifest.entry_key(CHAIN, 0):
            objects.before_put = lambda key: None
            other.write(cut_of(records[:4]))

    objects.before_put = wake
    zombie = sink_on(objects, "zombie")
    written = zombie.write(cut_of(records))
    assert (written.items, written.duplicates) == (6, 4)
    assert [a.record for a in archived(objects)] == records
    assert ranges(objects) == [(0, 4), (4, 6)]


@pytest.mark.parametrize("fails_at", range(4))
def test_a_crash_at_any_write_loses_nothing_and_shows_nothing_twice(objects: MemoryObjects, fails_at: int) -> None:
    records = [record(0), record(1, log_message("later", NOON_NS + HOUR_NS)), record(2)]
    puts: list[str] = []

    def fail(key: str) -> None:
        puts.append(key)
        if len(puts) > fails_at:
            raise ArchiveUnavailableError("the disk is full")

    objects.before_put = fail
    crashed = sink_on(objects, "w1")
    if fails_at < 3:
        with pytest.raises(StoreUnavailableError, match="the disk is full"):
            crashed.write(cut_of(records))
        assert archived(objects) == []
    else:
        crashed.write(cut_of(records))
    objects.before_put = lambda key: None
    again = sink_on(objects, "w2")
    first = again.resume(LOG_ID, LOGS)
    rest = [record(i) if i > 2 else records[i] for i in range(first, 5)]
    again.write(cut_of(rest))
    found = sorted(a.record.offset for a in archived(objects))
    assert found == [0, 1, 2, 3, 4]
    assert len([k for k in objects.objects if k.endswith("w1.avro") and not k.startswith(ROOT)]) == min(fails_at, 2)


def test_dead_letters_that_a_crash_may_have_swallowed_come_again(objects: MemoryObjects, sink: ObjectSink) -> None:
    bad = replace(record(1), body=b"rubbish")
    sink.write(cut_of([record(0)]))
    good = record(2)
    first = sink.write(cut_of([bad, good]))
    again = sink_on(objects, "w2")
    assert again.resume(LOG_ID, LOGS) == 1
    second = again.write(cut_of([bad, good, record(3)]))
    assert first.faults == second.faults
    assert (second.items, second.duplicates) == (2, 1)
    third = sink_on(objects, "w3")
    assert third.resume(LOG_ID, LOGS) == 1
    assert third.write(cut_of([bad, good])).faults == first.faults
    third.write(cut_of([record(4)]))
    assert third.resume(LOG_ID, LOGS) == 5


def test_offsets_that_the_log_lost_are_named_in_the_chain(objects: MemoryObjects, sink: ObjectSink) -> None:
    sink.write(cut_of([record(0)]))
    sink.write(cut_of([record(10)]))
    assert [(e.first, e.next, e.lost) for e in manifest.entries(objects)] == [
        (0, 1, False),
        (1, 10, True),
        (10, 11, False),
    ]
    assert sink.resume(LOG_ID, LOGS) == 11


def test_an_empty_range_is_archived_too(objects: MemoryObjects, sink: ObjectSink) -> None:
    assert sink.write(cut_of([], 0, 3)).items == 0
    assert sink.resume(LOG_ID, LOGS) == 3


def test_another_message_under_an_archived_offset_is_never_taken_for_it(sink: ObjectSink) -> None:
    sink.write(cut_of([record(0), record(1)]))
    with pytest.raises(StoreUnavailableError, match="another message in the archive"):
        sink.write(cut_of([record(0, log_message("other"))]))


def test_partitions_have_chains_of_their_own(objects: MemoryObjects, sink: ObjectSink) -> None:
    here, there = record(0), replace(record(5), partition=1)
    cut = Cut((Range(LOGS, LOG_ID, 0, 1), Range(there.where, LOG_ID, 0, 6)), [here, there], {})
    assert sink.write(cut).items == 2
    assert sorted(a.record.partition for a in archived(objects)) == [1, 3]
    assert sink.resume(LOG_ID, there.where) == 6


def test_a_corrupt_manifest_is_the_stores_fault(objects: MemoryObjects, sink: ObjectSink) -> None:
    sink.write(cut_of([record(0)]))
    key = manifest.entry_key(CHAIN, 0)
    objects.objects[key] = objects.objects[key][:-20]
    with pytest.raises(StoreUnavailableError, match="cut short"):
        sink_on(objects).resume(LOG_ID, LOGS)


def test_the_sweep_removes_what_can_never_be_named_and_nothing_else(objects: MemoryObjects, sink: ObjectSink) -> None:
    sink.write(cut_of([record(0), record(1)]))
    kept = dict(objects.objects)
    folder = f"default/telemetry.logs/2026/11/23/12/{LOG_ID}/00003"
    objects.put(f"{folder}/{0:020d}-{1:020d}-zombie.avro", b"orphan")
    objects.put(f"{folder}/{1:020d}-{9:020d}-zombie.avro", b"orphan")
    in_flight = f"{folder}/{2:020d}-{9:020d}-w1.avro"
    objects.put(in_flight, b"may yet be named")
    objects.put(f"{folder}/note.txt", b"not ours")
    assert sweep(objects, "default", LOGS.topic) == 2
    assert objects.objects == kept | {in_flight: b"may yet be named", f"{folder}/note.txt": b"not ours"}


def test_selected_hours_are_read_and_a_batch_sent_twice_is_read_once(objects: MemoryObjects, sink: ObjectSink) -> None:
    twice = log_message("twice", NOON_NS)
    sink.write(cut_of([record(0, twice), record(1, twice.again()), record(2, log_message("later", NOON_NS + HOUR_NS))]))
    every = list(read_archive(objects, Selection(LOGS.topic)))
    assert [a.record.offset for a in every] == [0, 2]
    late = Selection(LOGS.topic, start_ns=NOON_NS + 1)
    assert [a.record.offset for a in read_archive(objects, late)] == [2]
    early = Selection(LOGS.topic, end_ns=NOON_NS + HOUR_NS)
    assert [a.record.offset for a in read_archive(objects, early, distinct=False)] == [0, 1]
    assert list(read_archive(objects, Selection(contracts.METRICS_TOPIC))) == []


def test_an_entry_with_everything_reads_back_equal(objects: MemoryObjects, sink: ObjectSink) -> None:
    sink.write(cut_of([record(0), replace(record(1), body=b"x")]))
    (entry,) = manifest.entries(objects)
    assert isinstance(entry, Entry)
    assert (entry.chain, entry.first, entry.next, entry.writer, entry.lost) == (CHAIN, 0, 2, "w1", False)
    assert [(s.offset, s.reason) for s in entry.skipped] == [(1, "crc_mismatch")]
    assert manifest.last_entry(objects, CHAIN) == entry
