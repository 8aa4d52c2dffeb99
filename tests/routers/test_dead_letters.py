from __future__ import annotations

import google_crc32c
import pytest

from bus.port import MESSAGE_BYTES_MAX, Record, TopicPartition
from heliograph import contracts
from heliograph.message import HeaderList, Headers
from heliograph.records import decode_batch
from routers.dead_letters import DeadLetters, merge
from sinks.port import Cut, Range, RecordFault
from tests.routers.memory_bus import MemoryBus
from tests.routers.running import log_message

WHERE = TopicPartition(contracts.LOGS_TOPIC, 2)
TOPIC = "telemetry.deadletters.search"


@pytest.fixture
def bus() -> MemoryBus:
    made = MemoryBus()
    made.create_topics({TOPIC: 1})
    return made


def record(offset: int = 7, headers: HeaderList | None = None, body: bytes | None = None) -> Record:
    message = log_message("it")
    return Record(
        WHERE.topic, WHERE.partition, offset, 1234, message.headers if headers is None else headers,
        message.body if body is None else body,
    )  # fmt: skip


def produce(bus: MemoryBus, *faults: RecordFault, tried_below: int = 0) -> list[Record]:
    records = [f.record for f in faults]
    cut = Cut((Range(WHERE, "the-log", 0, 100),), records, {WHERE: tried_below})
    letters = DeadLetters(bus, "search", lambda: 99_000)
    assert letters.produce(faults, cut, 3) == len({r.offset for r in records})
    return bus.logs[TopicPartition(TOPIC, 0)]


def test_a_letter_holds_the_message_unchanged_and_where_it_stood(bus: MemoryBus) -> None:
    dead = record()
    (letter,) = produce(bus, RecordFault(dead, "not_avro", "it is cut", (4, 2)))
    envelope = decode_batch(letter.body, contracts.schema("dead_letter"))
    assert envelope.pop("headers") == [{"key": k, "value": v} for k, v in dead.headers]
    assert envelope == {
        "store": "search", "reason": "not_avro", "detail": "it is cut", "topic": WHERE.topic, "log_id": "the-log",
        "partition": 2, "offset": 7, "append_time_ms": 1234, "indexes": [2, 4], "attempts": 3, "dead_time_ms": 99_000,
        "body": dead.body,
    }  # fmt: skip


def test_a_letter_has_headers_like_any_batch(bus: MemoryBus) -> None:
    (letter,) = produce(bus, RecordFault(record(), "not_avro", "", (1, 2)))
    headers = Headers.decode(letter.headers)
    assert (headers.tenant, headers.service, headers.count) == ("default", "shop", 2)
    assert headers.crc32c == google_crc32c.value(letter.body)
    assert headers.schema == contracts.schema("dead_letter").fingerprint


def test_a_letter_produced_again_is_the_same_letter(bus: MemoryBus) -> None:
    produce(bus, RecordFault(record(), "not_avro", ""))
    first, again = produce(bus, RecordFault(record(), "not_avro", ""), tried_below=8)
    one, two = Headers.decode(first.headers), Headers.decode(again.headers)
    assert one.batch_id == two.batch_id
    assert (one.attempt, two.attempt) == (0, 1)
    (other,) = produce(bus, RecordFault(record(offset=8), "not_avro", ""))[2:]
    assert Headers.decode(other.headers).batch_id != one.batch_id


def test_a_message_without_headers_has_a_letter(bus: MemoryBus) -> None:
    (letter,) = produce(bus, RecordFault(record(headers=(), body=b""), "not_avro", "empty"))
    assert Headers.decode(letter.headers).tenant == "default"


def test_headers_and_details_that_nothing_can_hold_do_not_stop_a_letter(bus: MemoryBus) -> None:
    good = log_message("it").headers
    wild = tuple((k, b"\x7f" * 30 if k in ("hg.count", "hg.time_min_ns", "hg.sequence") else v) for k, v in good)
    (letter,) = produce(bus, RecordFault(record(headers=wild), "bad_headers", "lone \ud800 surrogate"))
    assert Headers.decode(letter.headers).count == 2**32 - 1
    assert decode_batch(letter.body, contracts.schema("dead_letter"))["detail"] == "lone ? surrogate"


@pytest.mark.parametrize("header_bytes", [0, 1000, 500_000])
def test_a_message_of_any_size_has_a_letter_that_fits(bus: MemoryBus, header_bytes: int) -> None:
    headers = (("x", b"h" * header_bytes), ("hg.tenant", b"acme"))
    dead = record(headers=headers, body=b"b" * (MESSAGE_BYTES_MAX - header_bytes - 20))
    (letter,) = produce(bus, RecordFault(dead, "oversize", "too large", tuple(range(15_000))))
    envelope = decode_batch(letter.body, contracts.schema("dead_letter"))
    assert letter.size_bytes <= MESSAGE_BYTES_MAX
    assert dead.body.startswith(envelope["body"])
    cut = len(envelope["body"]) < len(dead.body)
    assert cut == (f"[body cut from {len(dead.body)} to {len(envelope['body'])} bytes]" in envelope["detail"])
    assert {"key": "hg.tenant", "value": b"acme"} in envelope["headers"]


def test_a_batch_of_the_largest_size_keeps_every_byte(bus: MemoryBus) -> None:
    dead = record(body=b"b" * contracts.BATCH_BYTES_MAX)
    (letter,) = produce(bus, RecordFault(dead, "not_avro", "x" * 5000, tuple(range(20_000))))
    assert decode_batch(letter.body, contracts.schema("dead_letter"))["body"] == dead.body


def test_faults_of_one_record_become_one_letter() -> None:
    one, other = record(1), record(2)
    merged = merge(
        [
            RecordFault(one, "too_late", "old", (5, 1)),
            RecordFault(other, "not_avro", "whole"),
            RecordFault(one, "too_new", "young", (3, 5)),
            RecordFault(other, "too_late", "old", (1,)),
        ]
    )
    assert [(f.record.offset, f.reason, f.detail, f.indexes) for f in merged] == [
        (1, "too_late", "old (also: too_new)", (1, 3, 5)),
        (2, "not_avro", "whole (also: too_late)", ()),
    ]


def test_so_many_items_that_their_list_would_crowd_out_the_body_are_the_whole_batch() -> None:
    (fault,) = merge([RecordFault(record(), "too_late", "old", tuple(range(50_000)))])
    assert (fault.indexes, fault.detail) == ((), "50000 items: old")
