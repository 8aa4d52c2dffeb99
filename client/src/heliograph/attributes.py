"""OpenTelemetry's attribute values as the schemas hold them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final

from .records import AttributeValue

_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1


def clean(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def attribute(value: object) -> AttributeValue:
    """A scalar as it is; anything else, an integer beyond 64 bits included, as text, JSON where it has structure."""
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return int(value) if _LONG_MIN <= value <= _LONG_MAX else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return as_json(value)


def attributes(values: Mapping[str, object] | None) -> dict[str, AttributeValue]:
    """Every attribute, with clean keys."""
    return {clean(str(key)): attribute(value) for key, value in (values or {}).items()}


def text(value: object) -> str:
    """A value as text, for labels and resources: booleans as `true` and `false`, structures as JSON."""
    found = attribute(value)
    return found if isinstance(found, str) else json.dumps(found)


def texts(values: Mapping[str, object] | None) -> dict[str, str]:
    """Every attribute as text."""
    return {clean(str(key)): text(value) for key, value in (values or {}).items()}


def as_json(value: object) -> str:
    """JSON of a structure; what JSON cannot hold stands in it as text."""
    try:
        return clean(json.dumps(value, ensure_ascii=False, default=_fallback, skipkeys=True))
    except Exception:  # circular, too deep, or a `__str__` that fails
        return clean(repr(type(value)))


def _fallback(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return [str(v) for v in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
