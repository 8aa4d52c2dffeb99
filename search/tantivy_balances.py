"""Counts and hash sums per service and event minute, summed by the engine over columns; no document is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tantivy import Query

from search.port import Balance, SearchUnavailableError, Stream
from search.tantivy_query import every, term
from search.tantivy_shelf import OpenDay

_BUCKETS_MAX: Final = 60_000
"""The engine refuses to make more than 65,000 in one answer."""
_SUM = {"hash_sum": {"sum": {"field": "item_hash"}}}


def balances_of(opened: Sequence[OpenDay], stream: Stream, query: Query) -> Sequence[Balance]:
    """By service, then minute. Sums are exact up to 2 M documents per service, minute and day index (they are doubles)."""
    sums: dict[tuple[str, int], tuple[int, int]] = {}
    for day in opened:
        for service in _buckets(day, query, {"field": "service"}):
            name = str(service["key"])
            minutes = {"field": "event_minute"}
            for bucket in _buckets(day, every([query, term("service", name)]), minutes, _SUM):
                key = (name, int(bucket["key"]))
                held, total = sums.get(key, (0, 0))
                sums[key] = (held + int(bucket["doc_count"]), total + int(bucket["hash_sum"]["value"]))
    return [Balance(stream, service, minute, *held) for (service, minute), held in sorted(sums.items())]


def _buckets(
    day: OpenDay, query: Query, field: dict[str, Any], sub: dict[str, Any] | None = None
) -> Sequence[dict[str, Any]]:
    terms: dict[str, Any] = {"terms": {**field, "size": _BUCKETS_MAX}}
    if sub is not None:
        terms["aggs"] = sub
    answer = day.searcher.aggregate(query, {"buckets": terms})["buckets"]
    if answer["sum_other_doc_count"]:
        raise SearchUnavailableError(
            f"{day.day.stream} of {day.day.date} hold more than {_BUCKETS_MAX} different {field['field']}: ask for fewer minutes."
        )
    buckets: Sequence[dict[str, Any]] = answer["buckets"]
    return buckets
