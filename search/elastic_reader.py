"""The document store on Elasticsearch, reading side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from search.elastic_balances import balances_of
from search.elastic_check import check_server
from search.elastic_client import Client, ElasticClient
from search.elastic_document import OURS
from search.elastic_names import STREAMS, in_path, pattern
from search.elastic_page import Cursor, StreamSearch
from search.elastic_query import Filter, between, log_filters, of_service, span_filters, term, within
from search.elastic_settings import ElasticSettings
from search.port import Balance, Document, LogSearch, Page, QuerySyntaxError, Stream, TraceSearch

LIMIT_MAX: Final = 1000
TRACE_SPANS_MAX: Final = 10_000
TRACE_BYTES_MAX: Final = 16 * 1024 * 1024
TRACES_BYTES_MAX: Final = 4 * TRACE_BYTES_MAX
VALUES_MAX: Final = 10_000
_TRACES_AT_ONCE: Final = 20
_log = structlog.stdlib.get_logger("search")


class ElasticReader:
    """A DocumentReader over a cluster."""

    def __init__(self, settings: ElasticSettings, client: Client | None = None) -> None:
        """Connects to nothing yet. Raises SearchConfigError when a certificate file cannot be used."""
        self._dataset = settings.dataset
        self._client: Client = client or ElasticClient(settings)

    def check(self) -> None:
        """Connect, and make sure that documents can be read. Raises SearchConfigError for what the operator must mend, and
        SearchUnavailableError when the server is not there.
        """
        check_server(self._client, self._try)

    def logs(self, search: LogSearch) -> Page:
        _check_limit(search.limit)
        after = Cursor.parse(search.cursor) if search.cursor is not None else None
        filters = log_filters(search)
        found = self._stream("logs", search.tenant).page(filters, search.limit + 1, after)
        documents = found.documents[: search.limit]
        more = not found.whole or len(found.documents) > search.limit
        return Page(documents, found.total, str(Cursor.of(documents[-1])) if more and documents else None)

    def trace(self, tenant: str, trace_id: str) -> Sequence[Document]:
        spans: list[Document] = []
        size = 0
        for found in self._stream("traces", tenant).scan([term("trace_id", trace_id.lower())]):
            size += found.size_bytes
            if spans and size > TRACE_BYTES_MAX:
                _log.warning("trace_cut", trace_id=trace_id, spans=len(spans), bytes_max=TRACE_BYTES_MAX)
                break
            spans += found.documents
            if len(spans) >= TRACE_SPANS_MAX:
                break
        return spans[:TRACE_SPANS_MAX]

    def traces(self, search: TraceSearch) -> Sequence[Sequence[Document]]:
        _check_limit(search.limit)
        stream = self._stream("traces", search.tenant)
        answer = stream.ask(
            span_filters(search),
            size=search.limit,
            sort=[{"@timestamp": {"order": "desc", "unmapped_type": "date_nanos"}}],
            collapse={"field": "trace_id"},
            track_total_hits=False,
            _source=False,
        )
        ids = [str(hit["fields"]["trace_id"][0]) for hit in answer.body["hits"]["hits"]]
        found: list[Sequence[Document]] = []
        size = 0
        for start in range(0, len(ids), _TRACES_AT_ONCE):
            some = ids[start : start + _TRACES_AT_ONCE]
            traces, size_bytes = self._whole(search.tenant, some)
            size += size_bytes
            found += [spans for spans in traces if spans]
            if size > TRACES_BYTES_MAX and start + len(some) < len(ids):
                _log.warning("traces_cut", traces=len(found), bytes_max=TRACES_BYTES_MAX)
                break
        return found

    def services(self, tenant: str) -> Sequence[str]:
        return self._distinct(tenant, f"{OURS}.service", [])

    def operations(self, tenant: str, service: str) -> Sequence[str]:
        return self._distinct(tenant, "name", [of_service(service)])

    def documents(self, tenant: str, stream: Stream, start_ns: int, end_ns: int) -> Sequence[Document]:
        if end_ns <= start_ns:
            return []
        found = self._stream(stream, tenant).scan(within(start_ns, end_ns))
        return [document for page in found for document in page.documents]

    def balances(self, tenant: str, stream: Stream, start_minute: int, end_minute: int) -> Sequence[Balance]:
        if end_minute <= start_minute:
            return []
        filters = [between(f"{OURS}.event_minute", start_minute, end_minute - 1)]
        return balances_of(self._stream(stream, tenant), stream, filters)

    def _try(self) -> None:
        patterns = in_path(*(pattern(stream, self._dataset) for stream in STREAMS))
        self._client.ask("POST", f"/{patterns}/_search?size=0")

    def _whole(self, tenant: str, ids: Sequence[str]) -> tuple[Sequence[Sequence[Document]], int]:
        """These traces in this order, and what they weigh in bytes."""
        by_id: dict[str, list[Document]] = {id_: [] for id_ in ids}
        size = 0
        for found in self._stream("traces", tenant).scan([{"terms": {"trace_id": list(ids)}}]):
            size += found.size_bytes
            if size > TRACE_BYTES_MAX:
                # One of them is huge: each is cut by its own limits.
                return [self.trace(tenant, id_) for id_ in ids], size
            for span in found.documents:
                by_id[str(span.source["trace_id"])].append(span)
        return [spans[:TRACE_SPANS_MAX] for spans in by_id.values()], size

    def _distinct(self, tenant: str, field: str, filters: Sequence[Filter]) -> Sequence[str]:
        terms = {"terms": {"field": field, "size": VALUES_MAX}}
        answer = self._stream("traces", tenant).ask(filters, size=0, aggs={"values": terms})
        values: Any = answer.body.get("aggregations", {}).get("values", {"buckets": []})
        if values.get("sum_other_doc_count"):
            _log.warning("too_many_values", column=field, values_max=VALUES_MAX)
        return sorted(str(bucket["key"]) for bucket in values["buckets"])

    def _stream(self, stream: Stream, tenant: str) -> StreamSearch:
        return StreamSearch(self._client, stream, self._dataset, tenant)


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= LIMIT_MAX:
        raise QuerySyntaxError(f"limit must be between 1 and {LIMIT_MAX}; it is {limit}.")
