"""Counts and hash sums per service and event minute, summed by the server over columns; no document is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from search.elastic_document import OURS
from search.elastic_page import StreamSearch
from search.elastic_query import Filter, between, term
from search.port import Balance, Stream

EXACT_ITEMS_MAX: Final = 2 * 1024 * 1024
"""The server sums in doubles, which hold 2**53: as many hashes of 32 bits."""
_BUCKETS: Final = 10_000
_HASH: Final = f"{OURS}.item_hash"
_SUM: Final = {"hash_sum": {"sum": {"field": _HASH}}}
_KEYS: Final = [
    {"service": {"terms": {"field": f"{OURS}.service"}}},
    {"minute": {"terms": {"field": f"{OURS}.event_minute"}}},
]


def balances_of(
    search: StreamSearch, stream: Stream, filters: Sequence[Filter], exact_items_max: int = EXACT_ITEMS_MAX
) -> Sequence[Balance]:
    """By service, then minute; exact."""
    found: list[Balance] = []
    for bucket in _buckets(search, filters):
        service, minute, count = str(bucket["key"]["service"]), int(bucket["key"]["minute"]), int(bucket["doc_count"])
        total = int(bucket["hash_sum"]["value"])
        if count > exact_items_max:
            of_bucket = [*filters, term(f"{OURS}.service", service), between(f"{OURS}.event_minute", minute, minute)]
            total = _sum(search, of_bucket, 0, 2**32, exact_items_max)
        found.append(Balance(stream, service, minute, count, total))
    return sorted(found, key=lambda b: (b.service, b.minute))


def _buckets(search: StreamSearch, filters: Sequence[Filter]) -> Iterator[Any]:
    after: dict[str, Any] = {}
    while True:
        composite = {"size": _BUCKETS, "sources": _KEYS, **after}
        answer = search.ask(filters, size=0, aggs={"all": {"composite": composite, "aggs": _SUM}})
        # A data stream that does not exist has no aggregations.
        page = answer.body.get("aggregations", {}).get("all", {})
        yield from page.get("buckets", ())
        if "after_key" not in page:
            return
        after = {"after": page["after_key"]}


def _sum(search: StreamSearch, filters: Sequence[Filter], least: int, end: int, exact_items_max: int) -> int:
    """Of the hashes in [least, end), halved until each part can be summed exactly."""
    answer = search.ask([*filters, between(_HASH, least, end - 1)], size=0, track_total_hits=True, aggs=_SUM)
    count = int(answer.body["hits"]["total"]["value"])
    if count <= exact_items_max:
        return int(answer.body["aggregations"]["hash_sum"]["value"])
    if end - least == 1:
        return count * least
    middle = (least + end) // 2
    return _sum(search, filters, least, middle, exact_items_max) + _sum(search, filters, middle, end, exact_items_max)
