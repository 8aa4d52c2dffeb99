"""A Java program with Apache's clients on our topics, through the registry's Confluent API."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from archive.memory import MemoryObjects
from archive.reader import Selection, read_archive
from bus.confluent_registry import ConfluentRegistry
from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings
from bus.port import Listener, Record, TopicPartition
from heliograph import contracts
from heliograph.identity import BatchId
from heliograph.message import Headers, Message
from heliograph.records import LogRecord, Source, decode_batch, seal_logs
from sinks.decode import WriterSchemas, decode_records
from sinks.log_shape import log_documents
from sinks.objects import ObjectSink
from sinks.port import Cut, Range
from tests.interop import batches
from tests.interop.java_program import interop, require_jdk
from tests.interop.plain import plain
from tests.servers.kafka import broker
from tests.servers.registry import registry_url

PRODUCER = bytes(range(100, 116))


@dataclass(frozen=True, slots=True)
class Place:
    """A topic of a test's own, of four partitions, and its schema in the registry."""

    bus: KafkaBus
    registry: ConfluentRegistry
    topic: str
    schema: contracts.Schema
    schema_id: int


Places = Callable[[str], Place]


@pytest.fixture
def place() -> Iterator[Places]:
    require_jdk()
    bus = KafkaBus(KafkaSettings(broker().bootstrap, replication_factor=1))
    registry = ConfluentRegistry(registry_url())

    def made(topic: str) -> Place:
        schema = contracts.schema(contracts.topics()[topic].schema)
        own = f"{uuid.uuid4().hex[:10]}.{topic}"
        bus.create_topics({own: contracts.topics()[topic].partitions})
        return Place(bus, registry, own, schema, registry.register(f"{own}-value", schema))

    yield made
    bus.close()


@pytest.mark.parametrize(
    ("topic", "seal"),
    [
        (contracts.LOGS_TOPIC, batches.logs),
        (contracts.TRACES_TOPIC, batches.spans),
        (contracts.METRICS_TOPIC, batches.metrics),
    ],
)
def test_java_reads_what_we_wrote(place: Places, topic: str, seal: Callable[[int], list[Message]]) -> None:
    here = place(topic)
    sent = [dataclasses.replace(m, topic=here.topic) for m in seal(here.schema_id)]
    here.bus.produce(sent)
    found = interop("read", broker().bootstrap, registry_url(), str(len(sent)), here.topic)
    wanted = [
        {
            "partition": m.partition,
            "schema": f"heliograph.v1.{here.schema.parsed['name'].rpartition('.')[2]}",
            "headers": {key: value.hex() for key, value in m.headers},
            "value": plain(decode_batch(m.body, here.schema)),
        }
        for m in sent
    ]
    assert sorted(found, key=_identity) == sorted(wanted, key=_identity)


def test_java_reads_the_values_that_went_in(place: Places) -> None:
    here = place(contracts.LOGS_TOPIC)
    record = batches.log_record(3, batches.TRACE)
    sent = seal_logs([record], batches.SOURCE, lambda: BatchId(PRODUCER, 2**40), here.schema_id)
    here.bus.produce([dataclasses.replace(m, topic=here.topic) for m in sent])
    (found,) = interop("read", broker().bootstrap, registry_url(), "1", here.topic)
    (read,) = found["value"]["records"]
    assert {key: read[key] for key in record} == plain(record)
    assert found["value"]["resource"] == batches.SOURCE.resource
    assert (found["value"]["producer_id"], found["value"]["sequence"]) == (PRODUCER.hex(), 2**40)


def test_what_java_wrote_is_byte_for_byte_what_we_would_have_written(place: Places) -> None:
    here = place(contracts.LOGS_TOPIC)
    resource = {"service.name": "java-shop", "telemetry.sdk.language": "java", "host.name": "h"}
    records = [_record(i) for i in range(3)]
    written = _written_by_java(here, resource, records)
    (sealed,) = seal_logs(records, Source(resource), lambda: BatchId(PRODUCER, 77), here.schema_id)
    assert written.body == sealed.body
    assert written.headers == sealed.headers
    assert written.partition == sealed.partition


def test_what_java_wrote_is_taken_by_the_routers_sinks(place: Places) -> None:
    here = place(contracts.LOGS_TOPIC)
    records = [_record(i) for i in range(3)]
    written = _written_by_java(here, {"service.name": "java-shop"}, records)
    taken = dataclasses.replace(written, topic=contracts.LOGS_TOPIC)
    schemas = WriterSchemas(here.registry)
    batch = decode_records(taken, "log_batch", schemas)
    assert [r["body"] for r in batch["records"]] == [r["body"] for r in records]
    assert [d.id for d in log_documents(batch, "default")] == [BatchId(PRODUCER, 77).item(i) for i in range(3)]
    books = Headers.decode(taken.headers).books
    assert sum(b.count for b in books) == 3
    assert sum(b.hash_sum for b in books) == sum(r["item_hash"] for r in batch["records"])
    objects = MemoryObjects()
    where = TopicPartition(taken.topic, taken.partition)
    archived = ObjectSink(objects, schemas, "w").write(Cut((Range(where, "log", 0, taken.offset + 1),), [taken], {}))
    assert (archived.items, archived.faults) == (3, ())
    assert [a.record.body for a in read_archive(objects, Selection(taken.topic))] == [taken.body]


def _record(i: int) -> LogRecord:
    trace_id = batches.TRACE if i == 0 else b""
    return {
        "time_unix_nano": batches.NOON_NS + i * 40_000_000_000, "observed_time_unix_nano": batches.NOON_NS + i * 40_000_000_000,
        "severity_number": 17, "severity_text": "ERROR", "body": f"von Java, Zeile {i} ☂",
        "attributes": {"n": i, "ratio": i / 3, "ok": False, "who": "jvm"}, "trace_id": trace_id, "span_id": trace_id[:8],
        "flags": 0,
    }  # fmt: skip


def _written_by_java(here: Place, resource: dict[str, str], records: list[LogRecord]) -> Record:
    given = {"producer_id": PRODUCER.hex(), "sequence": 77, "resource": resource, "records": plain(records)}
    (said,) = interop("write", broker().bootstrap, registry_url(), here.topic, given=given)
    assert said == {"offset": 0}
    consumer = here.bus.consumer(uuid.uuid4().hex, [here.topic], "one", Listener(lambda _: None, lambda _: None))
    found: list[Record] = []
    for _ in range(60):
        found += consumer.poll(1.0, 1 << 20)
        if found:
            break
    consumer.close()
    (record,) = found
    return record


def _identity(line: dict[str, Any]) -> tuple[str, str]:
    return line["headers"]["hg.producer_id"], line["headers"]["hg.sequence"]
