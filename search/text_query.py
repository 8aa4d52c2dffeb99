"""The text of a log search, parsed: words, "phrases" and field:value pairs, all of which must hold. Knows no store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from search.port import QuerySyntaxError

TEXT_CHARS_MAX: Final = 4096
CONDITIONS_MAX: Final = 64

SEVERITIES: Final = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}
"""The least severity number of each level, as OpenTelemetry numbers them."""

_FIELDS = ("trace_id", "span_id", "severity", "service")
_SCOPES = ("attributes", "resource")
_ID_DIGITS = {"trace_id": 32, "span_id": 16}
_PART = re.compile(
    r'\s*(?:(?P<field>[A-Za-z_][\w.\-/]*):(?!//))?(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s"]*))(?=\s|$)'
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Words:
    """Words that must stand next to each other in the body, in this order; one word, if it is one."""

    text: str


@dataclass(frozen=True, slots=True)
class Equals:
    """A column that must have this value; `field` is trace_id, span_id or service."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Severity:
    """The least severity number."""

    least: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute whose value, as text, must be this; `scope` is attributes or resource."""

    scope: str
    key: str
    value: str


Condition: TypeAlias = Words | Equals | Severity | Attribute


def parse_text(text: str) -> list[Condition]:
    """The conditions of a query text; none for an empty one. Raises QuerySyntaxError with one sentence that says what is wrong."""
    if len(text) > TEXT_CHARS_MAX:
        raise QuerySyntaxError(f"The query has {len(text)} characters; at most {TEXT_CHARS_MAX} are read.")
    conditions: list[Condition] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        part = _PART.match(text, at)
        if part is None:
            raise QuerySyntaxError(
                f"There is a quote without its partner after {text[:at].strip()!r}; put quotes around whole values."
            )
        at = part.end()
        conditions.append(_condition(part))
        if len(conditions) > CONDITIONS_MAX:
            raise QuerySyntaxError(f"The query has more than {CONDITIONS_MAX} words and fields.")
    return conditions


def least_severity(name: str) -> int:
    """The severity number that a level starts at; raises QuerySyntaxError."""
    number = SEVERITIES.get(name.lower())
    if number is None:
        raise QuerySyntaxError(f"There is no severity {name!r}; use one of {', '.join(SEVERITIES)}.")
    return number


def _condition(part: re.Match[str]) -> Condition:
    field, quoted = part["field"], part["quoted"]
    value = part["bare"] if quoted is None else _ESCAPE.sub(r"\1", quoted)
    if field is None:
        if not value:
            raise QuerySyntaxError("There is an empty pair of quotes; put a word between them.")
        return Words(value)
    scope, _, key = field.partition(".")
    if scope in _SCOPES and key:
        return Attribute(scope, key, value)
    if field not in _FIELDS:
        known = ", ".join((*_FIELDS, "attributes.<key>", "resource.<key>"))
        raise QuerySyntaxError(f"There is no field {field!r}; use one of {known}, or put the text in quotes.")
    if not value:
        raise QuerySyntaxError(f"{field}: needs a value.")
    if field == "severity":
        return Severity(least_severity(value))
    if field in _ID_DIGITS:
        return Equals(field, _hex_id(field, value))
    return Equals(field, value)


def _hex_id(field: str, value: str) -> str:
    digits = _ID_DIGITS[field]
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value):
        raise QuerySyntaxError(f"A {field} has {digits} hexadecimal digits; {value[:80]!r} has not.")
    return value.lower()
