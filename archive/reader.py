"""Reading the archive: through the manifest only, so that no object counts that no entry names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

from archive import manifest
from archive.containers import read_container
from archive.manifest import ArchivedObject, Chain, Entry
from archive.port import CorruptArchiveError, ObjectStore
from archive.seen import SeenBatches
from bus.port import Record
from heliograph.framing import frame


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages: of a topic, and where given of a tenant and with an event within [start_ns, end_ns)."""

    topic: str
    start_ns: int | None = None
    end_ns: int | None = None
    tenant: str | None = None

    def overlaps(self, time_min_ns: int, time_max_ns: int) -> bool:
        """Whether events between the two times, both included, may be selected."""
        return (self.start_ns is None or time_max_ns >= self.start_ns) and (
            self.end_ns is None or time_min_ns < self.end_ns
        )


@dataclass(frozen=True, slots=True)
class Archived:
    """A message as the log delivered it, and what the archive knows beside."""

    record: Record
    log_id: str
    tenant: str
    schema_text: str
    """Avro JSON of the schema that the body was written with."""


def read_archive(objects: ObjectStore, selection: Selection, *, distinct: bool = True) -> Iterator[Archived]:
    """Selected messages by log and partition, in offset order within an object; whole messages, so events beside the times too.

    `distinct` leaves out a batch that was read before under the same (producer_id, sequence).
    Raises ArchiveUnavailableError, CorruptArchiveError; NoSuchObjectError when an entry names an object that is gone.
    """
    seen = SeenBatches()
    for entry in manifest.entries(objects, f"{manifest.ROOT}{selection.topic}/"):
        for found in entry.objects:
            wanted = selection.tenant in (None, found.tenant)
            if wanted and selection.overlaps(found.time_min_ns, found.time_max_ns):
                for archived in _read_object(objects, entry, found, selection):
                    if not distinct or seen.add(archived.record):
                        yield archived


def read_object(objects: ObjectStore, chain: Chain, found: ArchivedObject) -> Iterator[Archived]:
    """Every message of one object, in offset order; raises as read_archive does."""
    data = objects.get(found.key)
    if len(data) != found.size_bytes or google_crc32c.value(data) != found.crc32c:
        raise CorruptArchiveError(found.key, "it is not what the manifest says was written")
    container = read_container(found.key, data)
    if len(container.blocks) != len(found.blocks):
        raise CorruptArchiveError(found.key, f"{len(container.blocks)} blocks, {len(found.blocks)} in the manifest")
    head = frame(found.schema_id)
    for block, body in zip(found.blocks, container.blocks, strict=True):
        record = Record(chain.topic, chain.partition, block.offset, block.append_time_ms, block.headers, head + body)
        yield Archived(record, chain.log_id, found.tenant, container.schema_text)


def _read_object(objects: ObjectStore, entry: Entry, found: ArchivedObject, selection: Selection) -> Iterator[Archived]:
    for archived in read_object(objects, entry.chain, found):
        low, high = (_time_ns(archived.record, key) for key in ("hg.time_min_ns", "hg.time_max_ns"))
        if selection.overlaps(low, high):
            yield archived


def _time_ns(record: Record, key: str) -> int:
    value = record.header(key)
    return record.append_time_ms * 1_000_000 if value is None else int.from_bytes(value, "big", signed=True)
