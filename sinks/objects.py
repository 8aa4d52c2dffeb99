"""The archive's sink: messages go into containers as they are, and exist once the manifest names them (PROTOCOLS §3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import google_crc32c

from archive import manifest
from archive.containers import write_container
from archive.manifest import ArchivedObject, Block, Chain, Entry, Skipped, lost_entry
from archive.port import ArchiveError, CorruptArchiveError, ObjectExistsError, ObjectStore
from bus.port import Record, TopicPartition
from bus.registry import RegistryUnavailableError
from heliograph import contracts
from heliograph.errors import DecodeError
from heliograph.framing import FRAME_BYTES
from sinks.archivable import Archivable, count_of, judge, object_folder
from sinks.decode import SchemaPendingError, WriterSchemas
from sinks.port import Cut, CutLimits, Range, RecordFault, StoreUnavailableError, Written

_NAMES_TRIED_MAX: Final = 1000
_CONFLICTS_MAX: Final = 100
_DETAIL_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class _Part:
    """What one range came to."""

    items: int
    duplicates: int
    faults: tuple[RecordFault, ...]


class ObjectSink:
    """Writes cuts into an object store. `writer_id` names this process: letters, digits and dashes; a new one for each start."""

    name = "archive"
    topics: tuple[str, ...] = (contracts.METRICS_TOPIC, contracts.LOGS_TOPIC, contracts.TRACES_TOPIC)
    limits = CutLimits(age_s=10.0, first_age_s=2.0, bytes_max=32 * 1024 * 1024)

    def __init__(self, objects: ObjectStore, schemas: WriterSchemas, writer_id: str) -> None:
        self._objects = objects
        self._schemas = schemas
        self._writer_id = writer_id
        self._ends: dict[Chain, int] = {}

    def resume(self, log_id: str, where: TopicPartition) -> int:
        """The end of the manifest's chain, 0 for a chain that is not begun.

        A last cut with dead letters is read once more: the process may have died before it produced them.
        """
        chain = Chain(where.topic, log_id, where.partition)
        try:
            last = manifest.last_entry(self._objects, chain)
        except ArchiveError as error:
            raise StoreUnavailableError(str(error)) from error
        self._ends[chain] = 0 if last is None else last.next
        return 0 if last is None else last.resume

    def write(self, cut: Cut) -> Written:
        try:
            judged = {id(record): judge(record, self._schemas) for record in cut.records}
            by_partition: dict[TopicPartition, list[Record]] = {}
            for record in cut.records:
                by_partition.setdefault(record.where, []).append(record)
            parts = [
                self._write_range(
                    r, [(x, judged[id(x)]) for x in by_partition.get(r.where, ()) if r.first <= x.offset < r.next]
                )
                for r in cut.ranges
            ]
        except (ArchiveError, SchemaPendingError, RegistryUnavailableError) as error:
            raise StoreUnavailableError(str(error)) from error
        faults = tuple(fault for part in parts for fault in part.faults)
        return Written(sum(p.items for p in parts), faults, sum(p.duplicates for p in parts))

    def close(self) -> None:
        return

    def _write_range(self, wanted: Range, judged: Sequence[tuple[Record, Archivable | DecodeError]]) -> _Part:
        chain = Chain(wanted.where.topic, wanted.log_id, wanted.where.partition)
        for _ in range(_CONFLICTS_MAX):
            end = self._end(chain)
            part = self._part(chain, wanted, end, judged)
            try:
                if end < wanted.first:
                    manifest.put_entry(self._objects, lost_entry(chain, end, wanted.first, self._writer_id))
                    end = wanted.first
                if end < wanted.next:
                    resume = min((f.record.offset for f in part.faults), default=wanted.next)
                    self._append(chain, end, wanted.next, resume, [pair for pair in judged if pair[0].offset >= end])
            except ObjectExistsError:
                # Another writer went on from here: what it has is archived, and the rest goes behind it.
                self._ends.pop(chain, None)
                continue
            self._ends[chain] = max(end, wanted.next)
            return part
        raise StoreUnavailableError(f"other writers keep extending {chain.prefix}")

    def _end(self, chain: Chain) -> int:
        known = self._ends.get(chain)
        if known is None:
            last = manifest.last_entry(self._objects, chain)
            known = self._ends[chain] = 0 if last is None else last.next
        return known

    def _append(
        self,
        chain: Chain,
        first: int,
        next_: int,
        resume: int,
        judged: Sequence[tuple[Record, Archivable | DecodeError]],
    ) -> None:
        groups: dict[tuple[str, int, int], list[Archivable]] = {}
        skipped = []
        for record, verdict in judged:
            if isinstance(verdict, DecodeError):
                detail = verdict.detail[:_DETAIL_CHARACTERS_MAX].encode("utf-8", "replace").decode()
                skipped.append(Skipped(record.offset, verdict.reason, detail))
            else:
                groups.setdefault((verdict.tenant, verdict.event_hour, verdict.schema_id), []).append(verdict)
        stored: list[ArchivedObject] = []
        for _, group in sorted(groups.items()):
            stored.append(self._store(chain, first, next_, group, [o.key for o in stored]))
        entry = Entry(chain, first, next_, resume, self._writer_id, tuple(stored), tuple(skipped))
        manifest.put_entry(self._objects, entry)

    def _store(
        self, chain: Chain, first: int, next_: int, group: Sequence[Archivable], taken: Sequence[str]
    ) -> ArchivedObject:
        sample = group[0]
        data = write_container(sample.schema_text, [memoryview(a.record.body)[FRAME_BYTES:] for a in group])
        name = f"{object_folder(sample, chain)}/{first:020d}-{next_:020d}-{self._writer_id}"
        return ArchivedObject(
            self._put(name, data, taken), len(data), google_crc32c.value(data), sample.tenant, sample.event_hour,
            sample.schema_id, min(a.time_min_ns for a in group), max(a.time_max_ns for a in group),
            tuple(Block(a.record.offset, a.record.append_time_ms, a.record.headers) for a in group),
        )  # fmt: skip

    def _put(self, name: str, data: bytes, taken: Sequence[str]) -> str:
        for n in range(_NAMES_TRIED_MAX):
            key = f"{name}-{n}.avro" if n else f"{name}.avro"
            if key in taken:
                continue
            try:
                self._objects.put_if_absent(key, data)
            except ObjectExistsError:
                # An earlier try of this cut left it: it may have been split otherwise, as schemas were not known then.
                if self._objects.get(key) != data:
                    continue
            return key
        raise CorruptArchiveError(name, f"{_NAMES_TRIED_MAX} objects have this name")

    def _part(
        self, chain: Chain, wanted: Range, end: int, judged: Sequence[tuple[Record, Archivable | DecodeError]]
    ) -> _Part:
        """Faults and counts: of records below `end` what the manifest says, of the others what was judged now."""
        known = _Archived(manifest.covering(self._objects, chain, wanted.first, end)) if end > wanted.first else None
        items = duplicates = 0
        faults = []
        for record, verdict in judged:
            before = known is not None and record.offset < end
            fault = verdict if isinstance(verdict, DecodeError) else None
            if known is not None and before:
                fault = known.fault(record)
            if fault is not None:
                faults.append(RecordFault(record, fault.reason, fault.detail))
                continue
            count = count_of(record) if isinstance(verdict, DecodeError) else verdict.count
            items += count
            duplicates += count if before else 0
        return _Part(items, duplicates, tuple(faults))


class _Archived:
    """What the manifest already holds of a range."""

    def __init__(self, found: Iterable[Entry]) -> None:
        self._blocks: dict[int, Block] = {}
        self._skipped: dict[int, Skipped] = {}
        self._key = ""
        for entry in found:
            self._key = entry.key
            self._blocks |= {b.offset: b for o in entry.objects for b in o.blocks}
            self._skipped |= {s.offset: s for s in entry.skipped}

    def fault(self, record: Record) -> DecodeError | None:
        """Why the record was skipped, if it was; raises CorruptArchiveError when its offset holds another message."""
        skipped = self._skipped.get(record.offset)
        if skipped is not None:
            return DecodeError(skipped.reason, skipped.detail)
        block = self._blocks.get(record.offset)
        if block is None or (block.append_time_ms, block.headers) != (record.append_time_ms, record.headers):
            raise CorruptArchiveError(
                self._key,
                f"offset {record.offset} of {record.topic}/{record.partition} is another message in the archive; "
                "was the bus restored from a copy? Give its topics new log ids",
            )
        return None
