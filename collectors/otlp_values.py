"""OTLP's attribute values as ours."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from heliograph.records import AttributeValue

TIME_NS_MAX = 2**63 - 1
_Plain: TypeAlias = "str | int | float | bool | list[_Plain] | dict[str, _Plain] | None"


def attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    """Attributes by key, the last of equal keys; lists, maps and absent values as JSON text, bytes as base64."""
    return {pair.key: attribute(pair.value) for pair in pairs}


def attribute(value: AnyValue) -> AttributeValue:
    """One value: text, number and truth as they are, everything else as text."""
    plain = _plain(value)
    if isinstance(plain, (str, bool, int, float)):
        return plain
    return orjson.dumps(plain).decode()


def text(value: AnyValue) -> str:
    """One value as text; an absent value is empty."""
    return "" if value.WhichOneof("value") is None else as_text(attribute(value))


def texts(values: Mapping[str, AttributeValue]) -> dict[str, str]:
    """Attributes as text, for resources and labels."""
    return {key: as_text(value) for key, value in values.items()}


def as_text(value: AttributeValue) -> str:
    """true and false as JSON spells them, numbers in their shortest form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def resource(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """Resource attributes as text, service.name included."""
    found = texts(attributes(pairs))
    if not found.get("service.name"):
        found["service.name"] = "unknown_service"
    return found


def _plain(value: AnyValue) -> _Plain:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "int_value":
        return value.int_value
    if kind == "double_value":
        return value.double_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: _plain(item.value) for item in value.kvlist_value.values}
    return None
