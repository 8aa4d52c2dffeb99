"""Comparing what the stores hold with what was issued and acknowledged, by id and value."""

from __future__ import annotations

import collections
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archive.port import ObjectStore
from archive.reader import Selection, read_archive
from heliograph import contracts
from heliograph.records import decode_batch
from search.port import DocumentReader
from tsdb.port import BlockReader
from tsdb.reader import TsdbReader
from tsdb.samples import Match, Matcher

from .issued import body_of, value_bits

FAR_NS = 2**62
SHOWN = 5


@dataclass(slots=True)
class Verdict:
    """Violations of one store; empty lists mean that it holds."""

    store: str
    found: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.altered or self.unknown)

    def __str__(self) -> str:
        parts = [f"{self.store}: {self.found} found"]
        for name in ("lost", "doubled", "altered", "unknown"):
            ids = getattr(self, name)
            parts.append(f"{len(ids)} {name}" + (f" ({', '.join(ids[:SHOWN])})" if ids else ""))
        return ", ".join(parts)


def judge(store: str, found: Iterable[tuple[str, bool]], issued: set[str], acknowledged: set[str]) -> Verdict:
    """`found` is every record of the store as (id, whether its content is what the id demands)."""
    verdict = Verdict(store)
    counts: collections.Counter[str] = collections.Counter()
    for record_id, intact in found:
        counts[record_id] += 1
        if not intact:
            verdict.altered.append(record_id)
    verdict.found = len(counts)
    verdict.lost = sorted(acknowledged - counts.keys())
    verdict.doubled = sorted(record_id for record_id, count in counts.items() if count > 1)
    verdict.unknown = sorted(counts.keys() - issued)
    return verdict


def signals(ids: set[str], *kinds: str) -> set[str]:
    """The ids of these kinds (log, span, line, otlp, sample)."""
    return {record_id for record_id in ids if record_id.split("-")[1] in kinds}


def in_documents(reader: DocumentReader) -> Iterable[tuple[str, bool]]:
    """The oracle's documents out of a document store."""
    for document in reader.documents("default", "logs", 0, FAR_NS):
        record_id = oracle_id(document.source.get("attributes", {}), document.source["body"]["text"])
        if record_id:
            yield record_id, document.source["body"]["text"] == body_of(record_id)
    for document in reader.documents("default", "traces", 0, FAR_NS):
        record_id = oracle_id(document.source.get("attributes", {}), document.source["name"])
        if record_id:
            yield record_id, document.source["name"] == body_of(record_id)


def in_objects(objects: ObjectStore) -> Iterable[tuple[str, bool]]:
    """The oracle's records and samples out of an archive, each batch once."""
    for topic, name, text in (
        (contracts.LOGS_TOPIC, "log_batch", "body"),
        (contracts.TRACES_TOPIC, "span_batch", "name"),
    ):
        for archived in read_archive(objects, Selection(topic)):
            for record in decode_batch(archived.record.body, contracts.schema(name))["records"]:
                record_id = oracle_id(record["attributes"], record[text])
                if record_id:
                    yield record_id, record[text] == body_of(record_id)
    for archived in read_archive(objects, Selection(contracts.METRICS_TOPIC)):
        batch = decode_batch(archived.record.body, contracts.schema("metric_batch"))
        if batch["series"] and batch["series"][0]["name"] == "oracle_value":
            yield from _samples_of(batch)


def _samples_of(batch: Mapping[str, Any]) -> Iterable[tuple[str, bool]]:
    for series, value in zip(batch["series"], batch["values"], strict=True):
        labels = {label["key"]: label["value"] for label in series["labels"]}
        yield _sample(labels, batch["timestamp"], value)


def in_blocks(blocks: BlockReader) -> Iterable[tuple[str, bool]]:
    """The oracle's samples out of a block store, to the bit."""
    reader = TsdbReader(blocks)
    columns = reader.select("default", [Matcher("__name__", Match.EQUAL, "oracle_value")], 0, FAR_NS // 1_000_000)
    for i, labels in enumerate(columns.labels):
        j = columns.timeline[i]
        stamps = columns.stamps[columns.stamp_offsets[j] : columns.stamp_offsets[j + 1]]
        values = columns.values[columns.offsets[i] : columns.offsets[i + 1]]
        for at, bits in zip(stamps.tolist(), values.view("<u8").tolist(), strict=True):
            (value,) = struct.unpack("<d", struct.pack("<Q", bits))
            yield _sample(dict(labels), at, value)


def _sample(labels: Mapping[str, str], time_ms: int, value: float) -> tuple[str, bool]:
    seed, series = int(labels["job"].removeprefix("oracle-")), int(labels["series"])
    bits = int.from_bytes(struct.pack(">d", value), "big")
    return f"{seed}-sample-{series}-{time_ms}", bits == value_bits(seed, series, time_ms)


def text_is_intact(record_id: str, text: str) -> bool:
    """Whether a body or a span's name is what its id demands, checksum included."""
    return text == body_of(record_id)


def oracle_id(attributes: Mapping[str, Any], text: str) -> str | None:
    """From the attribute, or, for lines of a file, from the text itself."""
    if "oracle.id" in attributes:
        return str(attributes["oracle.id"])
    return text.split(" ", 2)[1] if text.startswith("oracle ") else None
