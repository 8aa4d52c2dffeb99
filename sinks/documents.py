"""The search sink: log and span batches as documents in OpenTelemetry's document shape (docs/formats/documents.md)."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bus.port import Record, TopicPartition
from bus.registry import RegistryUnavailableError
from heliograph.contracts import LOGS_TOPIC, TRACES_TOPIC
from heliograph.errors import DecodeError
from heliograph.message import Headers
from search.encoded import EncodedDocuments
from search.port import Batch, Document, DocumentFault, DocumentFaultError, DocumentWriter, SearchUnavailableError
from sinks.decode import SchemaPendingError, WriterSchemas, decode_records
from sinks.log_shape import log_documents
from sinks.port import Cut, CutLimits, RecordFault, StoreUnavailableError, Written
from sinks.span_shape import span_documents

NANOS_PER_MS = 1_000_000
LATE_MAX_S = 30 * 86_400
EARLY_MAX_S = 86_400


class DocumentSink:
    """A Sink over a document store. Items whose event time is too far from the message's append time are faults: every UTC day is an
    index of its own, and a broken clock must not open hundreds of them.
    """

    name = "search"
    topics: tuple[str, ...] = (LOGS_TOPIC, TRACES_TOPIC)
    limits = CutLimits(age_s=1.0, first_age_s=0.5, bytes_max=8 * 1024 * 1024)

    def __init__(
        self,
        writer: DocumentWriter,
        schemas: WriterSchemas,
        late_max_s: int = LATE_MAX_S,
        early_max_s: int = EARLY_MAX_S,
    ) -> None:
        """`late_max_s`, `early_max_s`: how far an event time may lie before and after the message's append time."""
        self._writer = writer
        self._schemas = schemas
        self._late_max_s = late_max_s
        self._early_max_s = early_max_s

    def resume(self, log_id: str, where: TopicPartition) -> int | None:
        return None

    def write(self, cut: Cut) -> Written:
        taken: list[_Taken] = []
        faults: list[RecordFault] = []
        try:
            written = self._writer.write(self._batches(cut, taken, faults))
        except DocumentFaultError as error:
            written = error.written
            faults += _record_faults(error.faults, taken)
        except (SearchUnavailableError, SchemaPendingError, RegistryUnavailableError) as error:
            raise StoreUnavailableError(str(error)) from error
        return Written(written.created + written.duplicates, tuple(faults), written.duplicates)

    def close(self) -> None:
        self._writer.close()

    def _batches(self, cut: Cut, taken: list[_Taken], faults: list[RecordFault]) -> Iterator[Batch]:
        """Decoded one by one, while the store works on those before; notes what was taken, and what cannot be."""
        start = 0
        for record in cut.records:
            try:
                documents = self._documents(record)
            except DecodeError as error:
                faults.append(RecordFault(record, error.reason, error.detail))
                continue
            positions, faulty = self._in_time(record, documents)
            faults += faulty
            if faulty:
                documents = (
                    documents.only(positions)
                    if isinstance(documents, EncodedDocuments)
                    else [documents[at] for at in positions]
                )
            taken.append(_Taken(start, record, positions))
            start += len(positions)
            yield Batch(documents, cut.maybe_written(record))

    def _documents(self, record: Record) -> Sequence[Document]:
        tenant = Headers.decode(record.headers).tenant
        if record.topic == TRACES_TOPIC:
            return span_documents(decode_records(record, "span_batch", self._schemas), tenant)
        return log_documents(decode_records(record, "log_batch", self._schemas), tenant)

    def _in_time(self, record: Record, documents: Sequence[Document]) -> tuple[Sequence[int], Sequence[RecordFault]]:
        """Positions of those that can be stored, and a fault for each way not to be."""
        earliest = max(0, (record.append_time_ms - self._late_max_s * 1000) * NANOS_PER_MS)
        latest = (record.append_time_ms + self._early_max_s * 1000) * NANOS_PER_MS
        times = documents.times_ns if isinstance(documents, EncodedDocuments) else [d.time_ns for d in documents]
        if not times or (earliest <= min(times) and max(times) <= latest):
            return range(len(documents)), ()
        late = tuple(i for i, at in enumerate(times) if at < earliest)
        early = tuple(i for i, at in enumerate(times) if at > latest)
        faults = []
        if late:
            faults.append(RecordFault(record, "too_late", f"older than {self._late_max_s} s at append", late))
        if early:
            faults.append(RecordFault(record, "too_new", f"more than {self._early_max_s} s ahead at append", early))
        return [i for i, at in enumerate(times) if earliest <= at <= latest], faults


@dataclass(frozen=True, slots=True)
class _Taken:
    """What of a record went to the store."""

    start: int
    """Position of its first document in the write."""
    record: Record
    items: Sequence[int]
    """Indices of the items in the record's batch."""


def _record_faults(found: Sequence[DocumentFault], taken: Sequence[_Taken]) -> list[RecordFault]:
    """One fault for each reason of each record."""
    grouped: dict[tuple[int, str], list[DocumentFault]] = {}
    for fault in found:
        at = bisect.bisect_right(taken, fault.position, key=lambda one: one.start) - 1
        grouped.setdefault((at, fault.reason), []).append(fault)
    return [
        RecordFault(
            taken[at].record,
            reason,
            same[0].detail,
            tuple(taken[at].items[fault.position - taken[at].start] for fault in same),
        )
        for (at, reason), same in grouped.items()
    ]
