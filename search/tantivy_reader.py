"""The embedded document store's reading side: searches over Tantivy day indexes, beside a writer in another process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from tantivy import Query

from search.port import Balance, Document, LogSearch, Page, QuerySyntaxError, Stream, TraceSearch
from search.tantivy_balances import balances_of
from search.tantivy_faults import store_faults
from search.tantivy_page import Cursor, Taken, count, newest, taken
from search.tantivy_query import between, every, except_terms, log_query, span_query, term
from search.tantivy_schema import term_of
from search.tantivy_shelf import OpenDay, Shelf
from search.tantivy_terms import distinct

LIMIT_MAX: Final = 1000
TRACE_SPANS_MAX: Final = 10_000
PAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of stored documents in one page; a page that would be larger ends early, with a cursor. The same limit holds per trace, and
four times as much for an answer of whole traces."""
_log = structlog.stdlib.get_logger("search")


class TantivyReader:
    """A DocumentReader over a folder."""

    def __init__(self, root: Path) -> None:
        self._shelf = Shelf(root)

    def logs(self, search: LogSearch) -> Page:
        if not 1 <= search.limit <= LIMIT_MAX:
            raise QuerySyntaxError(f"limit must be between 1 and {LIMIT_MAX}; it is {search.limit}.")
        after = Cursor.parse(search.cursor) if search.cursor is not None else None
        query = log_query(search)
        opened = self._shelf.days("logs", search.start_ns, search.end_ns)
        with store_faults("search logs"):
            total = sum(count(day, query) for day in opened)
            stored = _newest(opened, query, search.limit + 1, after)
            found = taken(islice(stored, search.limit), PAGE_BYTES_MAX)
            more = not found.whole or next(stored, None) is not None
        last = found.documents[-1] if found.documents else None
        return Page(found.documents, total, str(Cursor(last.time_ns, last.id)) if more and last is not None else None)

    def trace(self, tenant: str, trace_id: str) -> Sequence[Document]:
        return self._trace(tenant, trace_id).documents

    def traces(self, search: TraceSearch) -> Sequence[Sequence[Document]]:
        if not 1 <= search.limit <= LIMIT_MAX:
            raise QuerySyntaxError(f"limit must be between 1 and {LIMIT_MAX}; it is {search.limit}.")
        query = span_query(search)
        with store_faults("search traces"):
            ids = self._matching_traces(search, query)
        found: list[Sequence[Document]] = []
        size = 0
        for trace_id in ids:
            whole = self._trace(search.tenant, trace_id)
            size += whole.size_bytes
            if found and size > 4 * PAGE_BYTES_MAX:
                _log.warning("traces_cut", traces=len(found), bytes_max=4 * PAGE_BYTES_MAX)
                break
            found.append(whole.documents)
        return found

    def services(self, tenant: str) -> Sequence[str]:
        query = term("tenant", tenant)
        with store_faults("list services"):
            names = [distinct(day, "service", query, ("services", tenant)) for day in self._shelf.days("traces")]
        return sorted(set().union(*names))

    def operations(self, tenant: str, service: str) -> Sequence[str]:
        query = every([term("tenant", tenant), term("service", service)])
        with store_faults("list operations"):
            opened = self._shelf.days("traces")
            names = [distinct(day, "operation", query, ("operations", tenant, term_of(service))) for day in opened]
        return sorted(set().union(*names))

    def documents(self, tenant: str, stream: Stream, start_ns: int, end_ns: int) -> Sequence[Document]:
        if end_ns <= start_ns:
            return []
        query = every([term("tenant", tenant), between("time_ns", start_ns, end_ns - 1)])
        found: list[Document] = []
        with store_faults(f"read all {stream} of a time range"):
            for day in self._shelf.days(stream, start_ns, end_ns):
                found += taken(newest(day, query, max(1, count(day, query)), None), _UNLIMITED).documents
        return sorted(found, key=lambda d: (d.time_ns, d.id))

    def balances(self, tenant: str, stream: Stream, start_minute: int, end_minute: int) -> Sequence[Balance]:
        if end_minute <= start_minute:
            return []
        query = every([term("tenant", tenant), between("event_minute", start_minute, end_minute - 1)])
        with store_faults(f"balance the {stream}"):
            return balances_of(self._shelf.days(stream), stream, query)

    def _trace(self, tenant: str, trace_id: str) -> Taken:
        query = every([term("tenant", tenant), term("trace_id", trace_id.lower())])
        with store_faults("read a trace"):
            stored = _newest(self._shelf.days("traces"), query, TRACE_SPANS_MAX, None)
            found = taken(stored, PAGE_BYTES_MAX)
        if not found.whole:
            _log.warning("trace_cut", trace_id=trace_id, spans=len(found.documents), bytes_max=PAGE_BYTES_MAX)
        return replace(found, documents=sorted(found.documents, key=lambda d: (d.time_ns, d.id)))

    def _matching_traces(self, search: TraceSearch, query: Query) -> Sequence[str]:
        """Trace ids in the order of their newest span that matches."""
        ids: dict[str, None] = {}
        for day in self._shelf.days("traces", search.start_ns, search.end_ns):
            while len(ids) < search.limit:
                others = except_terms(query, "trace_id", ids)
                # Traces have several spans: a few more hits than traces wanted mostly suffice, and each round finds a new one.
                hits = taken(newest(day, others, 4 * (search.limit - len(ids)), None), PAGE_BYTES_MAX).documents
                if not hits:
                    break
                for span in hits:
                    ids.setdefault(str(span.source["trace_id"]))
        return list(ids)[: search.limit]


_UNLIMITED: Final = 2**63


def _newest(opened: Sequence[OpenDay], query: Query, limit: int, after: Cursor | None) -> Iterator[bytes]:
    """Across days, the newest first; days that are wholly after the cursor are passed over."""
    left = limit
    for day in opened:
        if left <= 0:
            return
        if after is not None and day.day.start_ns > after.time_ns:
            continue
        within = after if after is not None and after.time_ns < day.day.end_ns else None
        for stored in newest(day, query, left, within):
            left -= 1
            yield stored
