"""Newest-first pages out of day indexes, ordered by (time, id), without gap or repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tantivy
from tantivy import Query

from search.port import Document, QuerySyntaxError
from search.tantivy_query import LONG_MAX, LONG_MIN, between, every
from search.tantivy_schema import document_from
from search.tantivy_shelf import OpenDay

_CURSOR = re.compile(r"(-?\d{1,19})_([0-9a-f-]{1,80})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last document of the page before."""

    time_ns: int
    id: str

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises QuerySyntaxError."""
        found = _CURSOR.fullmatch(text)
        if found is None or not LONG_MIN <= int(found[1]) <= LONG_MAX:
            raise QuerySyntaxError(f"{text[:80]!r} is no cursor; use what the page before gave as next.")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.time_ns}_{self.id}"


@dataclass(frozen=True, slots=True)
class Taken:
    """Documents in order, and their stored size in bytes."""

    documents: Sequence[Document]
    size_bytes: int
    whole: bool
    """Whether the limit on bytes let all of them through."""


def count(opened: OpenDay, query: Query) -> int:
    """How many documents match."""
    found = opened.searcher.search(query, 1, order_by_field="time_ns")
    return int(found.count)  # type: ignore[attr-defined]  # the library's stub forgets it


def newest(opened: OpenDay, query: Query, limit: int, after: Cursor | None) -> Iterator[bytes]:
    """Stored documents after the cursor, at most `limit`, newest first and equal times by descending id."""
    kept = 0
    if after is not None:
        ties = every(
            [query, between("time_ns", after.time_ns, after.time_ns), opened.index.parse_query(f"id:<{after.id}")]
        )
        for stored in _by_id(opened.searcher, ties, limit):
            kept += 1
            yield stored
        if kept == limit:
            return
        query = every([query, between("time_ns", None, after.time_ns - 1)])
    yield from _by_time(opened.searcher, query, limit - kept)


def taken(stored: Iterator[bytes], bytes_max: int) -> Taken:
    """Documents until they exceed the limit; at least one if there is one."""
    documents: list[Document] = []
    size = 0
    for data in stored:
        if documents and size + len(data) > bytes_max:
            return Taken(documents, size, False)
        size += len(data)
        documents.append(document_from(data))
    return Taken(documents, size, True)


def _by_time(searcher: tantivy.Searcher, query: Query, limit: int) -> Iterator[bytes]:
    hits = searcher.search(query, limit, count=False, order_by_field="time_ns").hits
    last = hits[-1][0] if len(hits) == limit else None
    start = 0
    while start < len(hits):
        time_ns = hits[start][0]
        end = start
        while end < len(hits) and hits[end][0] == time_ns:
            end += 1
        if end - start == 1 and time_ns != last:
            yield _stored(searcher, hits[start][1])
        else:
            # The engine breaks ties by its own order, so equal times are asked for again, by id.
            ties = every([query, between("time_ns", time_ns, time_ns)])
            yield from _by_id(searcher, ties, end - start)
        start = end


def _by_id(searcher: tantivy.Searcher, query: Query, limit: int) -> Iterator[bytes]:
    for _, address in searcher.search(query, limit, count=False, order_by_field="id").hits:
        yield _stored(searcher, address)


def _stored(searcher: tantivy.Searcher, address: tantivy.DocAddress) -> bytes:
    found = searcher.doc(address).get_first("stored")
    if not isinstance(found, bytes):
        raise ValueError("Data corrupted: a document has no stored bytes")
    return found
