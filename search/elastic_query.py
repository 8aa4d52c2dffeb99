"""The port's searches as filters of Elasticsearch's query language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from search.elastic_document import OURS, VALUE_CHARS_MAX, long_term, service_term
from search.elastic_time import TIME_NS_MAX, spelled
from search.port import LogSearch, QuerySyntaxError, TraceSearch
from search.text_query import Attribute, Condition, Equals, Severity, Words, least_severity, parse_text

Filter = Mapping[str, Any]

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
_NONE: Final[Filter] = {"match_none": {}}
_FIELDS: Final = {"attributes": "attributes", "resource": "resource.attributes"}


def log_filters(search: LogSearch) -> list[Filter]:
    """All of a log search but its tenant, cursor and limit; raises QuerySyntaxError."""
    filters = within(search.start_ns, search.end_ns)
    if search.service is not None:
        filters.append(of_service(search.service))
    if search.severity is not None:
        filters.append(between("severity_number", least_severity(search.severity), None))
    return filters + [_of_text(condition) for condition in parse_text(search.text)]


def span_filters(search: TraceSearch) -> list[Filter]:
    """The spans that a trace search is about."""
    filters = within(search.start_ns, search.end_ns)
    if search.service is not None:
        filters.append(of_service(search.service))
    if search.operation is not None:
        filters.append(term("name", search.operation))
    if search.duration_min_ns is not None or search.duration_max_ns is not None:
        filters.append(between("duration", search.duration_min_ns, search.duration_max_ns))
    for key, value in (search.attributes or {}).items():
        filters.append({"bool": {"should": [_attribute(scope, key, value) for scope in _FIELDS]}})
    return filters


def every(filters: Sequence[Filter]) -> Filter:
    """Documents of ours for which all hold; others may have written to the same data stream."""
    return {"bool": {"filter": [{"exists": {"field": f"{OURS}.batch"}}, *filters]}}


def term(field: str, value: str) -> Filter:
    """An exact term."""
    return {"term": {field: {"value": value}}}


def of_service(name: str) -> Filter:
    """Documents of one service."""
    return term(f"{OURS}.service", service_term(name))


def within(start_ns: int | None, end_ns: int | None) -> list[Filter]:
    """Event times in [start, end), either open; bounds beyond what can be stored are no error."""
    if (start_ns is not None and start_ns > TIME_NS_MAX) or (end_ns is not None and end_ns <= 0):
        return [_NONE]
    bounds: dict[str, str] = {}
    if start_ns is not None and start_ns > 0:
        bounds["gte"] = spelled(start_ns)
    if end_ns is not None and end_ns <= TIME_NS_MAX:
        bounds["lt"] = spelled(end_ns)
    return [{"range": {"@timestamp": {**bounds, "format": "strict_date_optional_time_nanos"}}}] if bounds else []


def between(field: str, least: int | None, most: int | None) -> Filter:
    """An integer field within bounds, both inclusive, either open; bounds beyond 64 bits are no error."""
    if (least is not None and least > LONG_MAX) or (most is not None and most < LONG_MIN):
        return _NONE
    bounds: dict[str, int] = {}
    if least is not None:
        bounds["gte"] = max(least, LONG_MIN)
    if most is not None:
        bounds["lte"] = min(most, LONG_MAX)
    return {"range": {field: bounds}}


def _of_text(condition: Condition) -> Filter:
    match condition:
        case Words(text):
            if not any(letter.isalnum() for letter in text):
                raise QuerySyntaxError(
                    f"{text[:80]!r} holds no word that can be searched for: words are letters and digits."
                )
            return {"match_phrase": {"body.text": {"query": text}}}
        case Equals("service", value):
            return of_service(value)
        case Equals(field, value):
            return term(field, value)
        case Severity(least):
            return between("severity_number", least, None)
        case Attribute(scope, key, value):
            return _attribute(scope, key, value)


def _attribute(scope: str, key: str, value: str) -> Filter:
    if len(value) > VALUE_CHARS_MAX:
        return term(f"{OURS}.long", long_term(scope, key, value))
    return {"terms": {f"{_FIELDS[scope]}.{key}": sorted({value, _as_json(value)})}}


def _as_json(text: str) -> str:
    """A double as the stored JSON spells it, which is not always as Python does (1e16, 1e+16)."""
    try:
        number = float(text)
    except ValueError:
        return text
    return orjson.dumps(number).decode() if repr(number) == text else text
