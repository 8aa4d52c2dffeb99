"""The distinct values of a column, remembered until the next commit."""

from __future__ import annotations

import structlog
from tantivy import Query

from search.tantivy_shelf import OpenDay

VALUES_MAX = 10_000
_FACTS_MAX = 1_000
_log = structlog.stdlib.get_logger("search")


def distinct(opened: OpenDay, column: str, query: Query, key: tuple[str, ...]) -> tuple[str, ...]:
    """Values of the documents that match, at most 10,000 per day; `key` names query and column."""
    known = opened.facts.get(key)
    if known is not None:
        return known
    terms = {"terms": {"field": column, "size": VALUES_MAX}}
    answer = opened.searcher.aggregate(query, {"values": terms})["values"]
    if answer["sum_other_doc_count"]:
        _log.warning("too_many_values", column=column, day=opened.day.date.isoformat(), values_max=VALUES_MAX)
    values = tuple(str(bucket["key"]) for bucket in answer["buckets"])
    if len(opened.facts) >= _FACTS_MAX:
        opened.facts.clear()
    opened.facts[key] = values
    return values
