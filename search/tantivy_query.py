"""The port's searches as Tantivy queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import tantivy
from tantivy import FieldType, Occur, Query

from search.port import LogSearch, QuerySyntaxError, TraceSearch
from search.tantivy_schema import SCHEMA, WORD_BYTES_MAX, WORDS, attribute_term, term_of
from search.text_query import Attribute, Condition, Equals, Severity, Words, least_severity, parse_text

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1


def log_query(search: LogSearch) -> Query:
    """All of a log search but its cursor and limit; raises QuerySyntaxError."""
    conditions = [term("tenant", search.tenant), *_within(search.start_ns, search.end_ns)]
    if search.service is not None:
        conditions.append(term("service", search.service))
    if search.severity is not None:
        conditions.append(between("severity_number", least_severity(search.severity), None))
    conditions += [_of_text(condition) for condition in parse_text(search.text)]
    return every(conditions)


def span_query(search: TraceSearch) -> Query:
    """The spans that a trace search is about."""
    conditions = [term("tenant", search.tenant), *_within(search.start_ns, search.end_ns)]
    if search.service is not None:
        conditions.append(term("service", search.service))
    if search.operation is not None:
        conditions.append(term("operation", search.operation))
    if search.duration_min_ns is not None or search.duration_max_ns is not None:
        conditions.append(between("duration_ns", search.duration_min_ns, search.duration_max_ns))
    conditions += _attributes(search.attributes or {})
    return every(conditions)


def every(conditions: Iterable[Query]) -> Query:
    """All conditions together; there is at least one."""
    found = list(conditions)
    return found[0] if len(found) == 1 else Query.boolean_query([(Occur.Must, c) for c in found])


def term(field: str, value: str) -> Query:
    """An exact term of a text column."""
    return Query.term_query(SCHEMA, field, term_of(value), "basic")


def between(column: str, least: int | None, most: int | None) -> Query:
    """An integer column within bounds, both inclusive, either open; bounds beyond 64 bits are no error."""
    if (least is not None and least > LONG_MAX) or (most is not None and most < LONG_MIN):
        return Query.empty_query()
    low = None if least is None else max(least, LONG_MIN)
    high = None if most is None else min(most, LONG_MAX)
    return Query.range_query(SCHEMA, column, FieldType.Integer, low, high)


def except_terms(query: Query, field: str, values: Iterable[str]) -> Query:
    """The query without documents that have one of these values."""
    unwanted = list(values)
    if not unwanted:
        return query
    excluded = Query.term_set_query(SCHEMA, field, unwanted)
    return Query.boolean_query([(Occur.Must, query), (Occur.MustNot, excluded)])


def _within(start_ns: int | None, end_ns: int | None) -> list[Query]:
    if start_ns is None and end_ns is None:
        return []
    return [between("time_ns", start_ns, None if end_ns is None else end_ns - 1)]


def _attributes(wanted: Mapping[str, str]) -> list[Query]:
    return [
        Query.boolean_query(
            [
                (Occur.Should, term("attribute", attribute_term(scope, key, value)))
                for scope in ("attributes", "resource")
            ]
        )
        for key, value in wanted.items()
    ]


def _of_text(condition: Condition) -> Query:
    match condition:
        case Words(text):
            return _of_words(text)
        case Equals(field, value):
            return term(field, value)
        case Severity(least):
            return between("severity_number", least, None)
        case Attribute(scope, key, value):
            return term("attribute", attribute_term(scope, key, value))


def _of_words(text: str) -> Query:
    words = WORDS.analyze(text)
    if not words:
        raise QuerySyntaxError(
            f"{text[:80]!r} holds no word that can be searched for: words are letters and digits, at most {WORD_BYTES_MAX} bytes."
        )
    if len(words) == 1:
        return tantivy.Query.term_query(SCHEMA, "body", words[0], "position")
    return tantivy.Query.phrase_query(SCHEMA, "body", list(words))
