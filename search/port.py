"""The document store port: logs and spans as documents in OpenTelemetry's shape, written once by id, searched by time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

Stream: TypeAlias = Literal["logs", "traces"]
Source: TypeAlias = Mapping[str, Any]
"""A document as JSON: `@timestamp`, `resource.attributes`, `scope`, `body.text` or `name`, … (docs/formats/documents.md)."""


class SearchError(Exception):
    """Anything this package raises."""


class SearchUnavailableError(SearchError):
    """The store's fault: it cannot be read or written now."""


class SearchConfigError(SearchError):
    """The operator's fault, found when a role starts: one sentence that says what to change."""


class QuerySyntaxError(SearchError):
    """The caller's fault: the query text cannot be understood."""


@dataclass(frozen=True, slots=True)
class Document:
    """One log record or span."""

    id: str
    """heliograph.identity.BatchId.item(index)."""
    stream: Stream
    tenant: str
    time_ns: int
    """Event time; names the day the document lives in."""
    item_hash: int
    event_minute: int
    source: Source


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents that are written together, most often those of one message."""

    documents: Sequence[Document]
    maybe_written: bool
    """Whether an earlier try may have stored any of them."""


@dataclass(frozen=True, slots=True)
class LogSearch:
    """Which log records; all conditions hold together."""

    tenant: str = "default"
    start_ns: int | None = None
    """Inclusive."""
    end_ns: int | None = None
    """Exclusive."""
    service: str | None = None
    severity: str | None = None
    """A level name (trace, debug, info, warn, error, fatal) as the least severity, by severity_number."""
    text: str = ""
    """Words that the body must hold, and field:value pairs (trace_id:…, attributes.x:…), all of them; "…" is a phrase."""
    limit: int = 100
    """1 to 1,000."""
    cursor: str | None = None
    """What the page before gave as `next`."""


@dataclass(frozen=True, slots=True)
class Page:
    """Documents newest first; equal times by descending id."""

    documents: Sequence[Document]
    total: int
    """All that match, not just this page."""
    next: str | None
    """Cursor of the page after, None at the end."""


@dataclass(frozen=True, slots=True)
class TraceSearch:
    """Which traces: those with a span that fulfils all conditions."""

    tenant: str = "default"
    service: str | None = None
    operation: str | None = None
    attributes: Mapping[str, str] | None = None
    """Span or resource attributes, by equality of their text."""
    start_ns: int | None = None
    end_ns: int | None = None
    duration_min_ns: int | None = None
    duration_max_ns: int | None = None
    limit: int = 20
    """Traces, newest first."""


@dataclass(frozen=True, slots=True)
class StoreWritten:
    """What a write did."""

    created: int
    duplicates: int
    """Documents that were already there under their id."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What the store itself says it holds of one (stream, service, event minute)."""

    stream: Stream
    service: str
    minute: int
    count: int
    hash_sum: int


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """One document that the store can never take."""

    position: int
    """In the documents of the write, counted through its batches."""
    reason: str
    """A stable word: mapping (a field's value does not fit), oversize (more than the store takes in one request) or encoding (no JSON)."""
    detail: str


class DocumentFaultError(SearchError):
    """The documents' own fault; everything else of the write is durable and visible."""

    def __init__(self, faults: Sequence[DocumentFault], written: StoreWritten) -> None:
        super().__init__(f"{len(faults)} documents cannot be stored; the first: {faults[0].reason}: {faults[0].detail}")
        self.faults = faults
        """In the order of their positions; at least one."""
        self.written = written
        """What became of the other documents."""


class DocumentWriter(Protocol):
    """The writing side; one per store and machine where the store is embedded."""

    def write(self, batches: Iterable[Batch]) -> StoreWritten:
        """Durable and visible to readers on return; a document is visible once whatever was tried before. Batches are taken one after
        the other, the next perhaps while those before are on their way; what taking one raises is passed on.

        Raises SearchUnavailableError, and DocumentFaultError after everything else was written.
        """
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class DocumentReader(Protocol):
    """The reading side; safe from several threads and processes, beside a writer. Every method may raise SearchUnavailableError."""

    def logs(self, search: LogSearch) -> Page:
        """Raises QuerySyntaxError."""
        ...

    def trace(self, tenant: str, trace_id: str) -> Sequence[Document]:
        """All spans of a trace (32 hex digits), by start time; at most 10,000."""
        ...

    def traces(self, search: TraceSearch) -> Sequence[Sequence[Document]]:
        """Whole traces, newest first."""
        ...

    def services(self, tenant: str) -> Sequence[str]:
        """Sorted names of services that have spans."""
        ...

    def operations(self, tenant: str, service: str) -> Sequence[str]:
        """Sorted span names of a service."""
        ...

    def documents(self, tenant: str, stream: Stream, start_ns: int, end_ns: int) -> Sequence[Document]:
        """Everything of a time range [start, end), for audits; by time, then id."""
        ...

    def balances(self, tenant: str, stream: Stream, start_minute: int, end_minute: int) -> Sequence[Balance]:
        """Counts and hash sums per service and event minute in [start, end), by aggregation in the store."""
        ...
