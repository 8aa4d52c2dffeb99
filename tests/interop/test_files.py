"""The archive's container files in the hands of three Avro libraries that are not ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import avro.codecs
import avro.datafile
import avro.io
import fastavro
import pytest

from archive import manifest
from archive.local import LocalObjects
from archive.port import ObjectStore
from bus.embedded_registry import EmbeddedRegistry
from bus.port import Record, TopicPartition
from heliograph import contracts
from heliograph.message import Message
from heliograph.records import decode_batch
from sinks.decode import WriterSchemas
from sinks.objects import ObjectSink
from sinks.port import Cut, Range
from tests.interop import batches
from tests.interop.java_program import interop, require_jdk
from tests.interop.plain import plain

Reader = Callable[[list[Path]], list[Any]]
SIGNALS = {
    contracts.LOGS_TOPIC: batches.logs,
    contracts.TRACES_TOPIC: batches.spans,
    contracts.METRICS_TOPIC: batches.metrics,
}


def archived(root: Path, topic: str) -> list[Message]:
    """The topic's batches, put into the archive by its sink."""
    schema = contracts.schema(contracts.topics()[topic].schema)
    messages = SIGNALS[topic](schema.offline_id)
    objects: ObjectStore = LocalObjects(root)
    sink = ObjectSink(objects, WriterSchemas(EmbeddedRegistry(root.with_suffix(".db"))), "w")
    records = [Record(topic, 0, i, batches.NOON_NS // 10**6, m.headers, m.body) for i, m in enumerate(messages)]
    sink.write(Cut((Range(TopicPartition(topic, 0), "log", 0, len(records)),), records, {}))
    return messages


def by_java(paths: list[Path]) -> list[Any]:
    require_jdk()
    return interop("files", *map(str, paths))


def by_apache_avro(paths: list[Path]) -> list[Any]:
    found: list[Any] = []
    for path in paths:
        with avro.datafile.DataFileReader(path.open("rb"), avro.io.DatumReader()) as reader:
            found += [plain(datum) for datum in reader]
    return found


def by_fastavro(paths: list[Path]) -> list[Any]:
    found: list[Any] = []
    for path in paths:
        with path.open("rb") as file:
            found += [plain(datum) for datum in fastavro.reader(file)]
    return found


@pytest.mark.parametrize("read", [by_java, by_apache_avro, by_fastavro])
@pytest.mark.parametrize("topic", SIGNALS)
def test_containers_read_as_what_was_archived(tmp_path: Path, topic: str, read: Reader) -> None:
    messages = archived(tmp_path / "archive", topic)
    schema = contracts.schema(contracts.topics()[topic].schema)
    found = read(sorted((tmp_path / "archive" / "default").rglob("*.avro")))
    assert found == [plain(decode_batch(m.body, schema)) for m in messages]


@pytest.mark.parametrize("read", [by_java, by_apache_avro, by_fastavro])
def test_a_manifest_entry_reads_too(tmp_path: Path, read: Reader) -> None:
    messages = archived(tmp_path / "archive", contracts.LOGS_TOPIC)
    objects = LocalObjects(tmp_path / "archive")
    (entry,) = manifest.entries(objects)
    (found,) = read([tmp_path / "archive" / entry.key])
    assert (found["topic"], found["first"], found["next"]) == (contracts.LOGS_TOPIC, 0, len(messages))
    blocks = [b for o in found["objects"] for b in o["blocks"]]
    headers = [{"key": key, "value": value.hex()} for key, value in messages[0].headers]
    assert blocks[0]["headers"] == headers
