"""The search sink: log and span batches as documents in OpenTelemetry's document shape (docs/formats/documents.md)."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from bus.port import Record, TopicPartition
from bus.registry import RegistryUnavailableError
from heliograph.contracts import LOGS_TOPIC, TRACES_TOPIC
from heliograph.errors import DecodeError
from heliograph.identity import item_of
from heliograph.message import Headers
from search.port import Document, DocumentFault, DocumentFaultError, DocumentWriter, SearchUnavailableError
from sinks.decode import SchemaPendingError, WriterSchemas, decode_records
from sinks.document_shape import log_documents, span_documents
from sinks.port import Cut, CutLimits, RecordFault, StoreUnavailableError, Written

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
        documents: list[Document] = []
        maybe_written: list[bool] = []
        faults: list[RecordFault] = []
        starts: list[int] = []
        for record in cut.records:
            starts.append(len(documents))
            try:
                found, faulty = self._documents(record)
            except DecodeError as error:
                faults.append(RecordFault(record, error.reason, error.detail))
                continue
            except (SchemaPendingError, RegistryUnavailableError) as error:
                raise StoreUnavailableError(str(error)) from error
            faults += faulty
            documents += found
            maybe_written += [cut.maybe_written(record)] * len(found)
        try:
            written = self._writer.write(documents, maybe_written)
        except DocumentFaultError as error:
            written = error.written
            faults += _record_faults(error.faults, cut.records, starts, documents)
        except SearchUnavailableError as error:
            raise StoreUnavailableError(str(error)) from error
        return Written(written.created + written.duplicates, tuple(faults), written.duplicates)

    def close(self) -> None:
        self._writer.close()

    def _documents(self, record: Record) -> tuple[Sequence[Document], Sequence[RecordFault]]:
        headers = Headers.decode(record.headers)
        if record.topic == TRACES_TOPIC:
            documents = span_documents(decode_records(record, "span_batch", self._schemas), headers.tenant)
        else:
            documents = log_documents(decode_records(record, "log_batch", self._schemas), headers.tenant)
        return self._in_time(record, documents)

    def _in_time(
        self, record: Record, documents: Sequence[Document]
    ) -> tuple[Sequence[Document], Sequence[RecordFault]]:
        earliest = max(0, (record.append_time_ms - self._late_max_s * 1000) * NANOS_PER_MS)
        latest = (record.append_time_ms + self._early_max_s * 1000) * NANOS_PER_MS
        if all(earliest <= d.time_ns <= latest for d in documents):
            return documents, ()
        late = tuple(i for i, d in enumerate(documents) if d.time_ns < earliest)
        early = tuple(i for i, d in enumerate(documents) if d.time_ns > latest)
        faults = []
        if late:
            faults.append(RecordFault(record, "too_late", f"older than {self._late_max_s} s at append", late))
        if early:
            faults.append(RecordFault(record, "too_new", f"more than {self._early_max_s} s ahead at append", early))
        return [d for d in documents if earliest <= d.time_ns <= latest], faults


def _record_faults(
    found: Sequence[DocumentFault], records: Sequence[Record], starts: Sequence[int], documents: Sequence[Document]
) -> list[RecordFault]:
    """One fault for each reason of each record; `starts` says where a record's documents begin."""
    grouped: dict[tuple[int, str], list[DocumentFault]] = {}
    for fault in found:
        grouped.setdefault((bisect.bisect_right(starts, fault.position) - 1, fault.reason), []).append(fault)
    return [
        RecordFault(records[at], reason, same[0].detail, tuple(item_of(documents[f.position].id) for f in same))
        for (at, reason), same in grouped.items()
    ]
