"""Avro schema resolution, decided ahead and compared with what fastavro does."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_one

from bus.compatibility import incompatibilities


def _record(*fields: Any, name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def _field(kind: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def _enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def _fixed(size: int, name: str = "F") -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


_TREE = _record(_field({"type": "array", "items": "Tree"}, "children"), name="Tree")
_TREE_WITH_DEFAULT = _record(
    _field({"type": "array", "items": "Tree"}, "children"), _field("int", "n", default=0), name="Tree"
)
_TREE_WITHOUT_DEFAULT = _record(_field({"type": "array", "items": "Tree"}, "children"), _field("int", "n"), name="Tree")

_BYTES = "string and bytes, of which not all are text"
_COMPATIBLE: dict[str, tuple[Any, Any]] = {
    "the same": (_record(_field("int")), _record(_field("int"))),
    "a field more, with a default": (_record(_field("int")), _record(_field("int"), _field("string", "g", default=""))),
    "fields in another order": (
        _record(_field("int"), _field("long", "g")),
        _record(_field("long", "g"), _field("int")),
    ),
    _BYTES: ("string", "bytes"),
    "a union's branches in another order": (["null", "int"], ["int", "null"]),
    "a union of one branch and that branch": (["int"], "int"),
    "enums with a default for what they do not know": (_enum("A", "B", default="A"), _enum("A", "C", default="A")),
    "another namespace": (
        {**_record(_field("int")), "namespace": "a"},
        {**_record(_field("int")), "namespace": "b"},
    ),
    "a recursive record": (_TREE, _TREE_WITH_DEFAULT),
    "docs and properties": (_record(_field("int")), {**_record(_field("int", doc="x")), "doc": "y"}),
    "a wrapped primitive": (_record(_field("int")), _record(_field({"type": "int"}))),
    "a name used twice": (
        _record(_field(_fixed(2), "a"), _field("F", "b")),
        _record(_field(_fixed(2), "b"), _field("F", "a")),
    ),
    "records in unions": (
        ["null", _record(_field("int"), name="A"), _record(_field("int"), name="B")],
        [_record(_field("int"), name="B"), "null", _record(_field("int"), _field("int", "g", default=1), name="A")],
    ),
}

_INCOMPATIBLE: dict[str, tuple[Any, Any, str]] = {
    "a field more, without a default": (_record(), _record(_field("int")), "f is not written and has no default"),
    "a field less, without a default": (_record(_field("int")), _record(), "f is not written and has no default"),
    "int to long cannot go back": ("int", "long", "the old cannot read the new: the schema is long, read as int"),
    "int to string": (_record(_field("int")), _record(_field("string")), "f is int, read as string"),
    "a union loses a branch": (["null", "int"], ["null"], "is int, which is in no branch of the union [null]"),
    "a union gains a branch": (["null"], ["null", "int"], "the old cannot read the new"),
    "an optional becomes plain": (_record(_field(["null", "int"])), _record(_field("int")), "f is null, read as int"),
    "an enum loses a symbol": (_enum("A", "B"), _enum("A"), "may be B"),
    "an enum gains a symbol": (_enum("A"), _enum("A", "B"), "may be B"),
    "a fixed of another size": (_fixed(8), _fixed(16), "has 8 bytes, read as 16"),
    "a fixed of another name": (_fixed(8), _fixed(8, "G"), "is F, read as G"),
    "a record of another name": (_record(), _record(name="S"), "is R, read as S"),
    "items of another type": (
        {"type": "array", "items": "int"},
        {"type": "array", "items": "string"},
        "[] is int, read as string",
    ),
    "values of another type": (
        {"type": "map", "values": "int"},
        {"type": "map", "values": "null"},
        "{} is int, read as null",
    ),
    "an array and a map": (
        {"type": "array", "items": "int"},
        {"type": "map", "values": "int"},
        "is array, read as map",
    ),
    "deep within": (
        _record(_field({"type": "array", "items": _record(_field("int", "x"), name="I")}, "items")),
        _record(_field({"type": "array", "items": _record(_field("string", "x"), name="I")}, "items")),
        "items[].x is int, read as string",
    ),
    "a recursive record": (_TREE, _TREE_WITHOUT_DEFAULT, "n is not written and has no default"),
}


def _can_read(writer: Any, reader: Any) -> bool:
    stream = io.BytesIO()
    try:
        for _ in range(20):
            stream.seek(0)
            stream.truncate()
            fastavro.schemaless_writer(stream, writer, generate_one(writer))
            stream.seek(0)
            fastavro.schemaless_reader(stream, writer, reader)
    except (fastavro.read.SchemaResolutionError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", _COMPATIBLE)
def test_compatible_schemas_have_no_reasons(name: str) -> None:
    old, new = map(fastavro.parse_schema, _COMPATIBLE[name])
    assert incompatibilities(old, new) == []
    assert incompatibilities(new, old) == []


@pytest.mark.parametrize("name", [n for n in _COMPATIBLE if "recursive" not in n and n != _BYTES])
def test_what_is_called_compatible_can_be_read(name: str) -> None:
    old, new = map(fastavro.parse_schema, _COMPATIBLE[name])
    assert _can_read(old, new)
    assert _can_read(new, old)


@pytest.mark.parametrize("name", _INCOMPATIBLE)
def test_incompatible_schemas_say_why(name: str) -> None:
    old, new, reason = _INCOMPATIBLE[name]
    reasons = incompatibilities(fastavro.parse_schema(old), fastavro.parse_schema(new))
    assert any(reason in found for found in reasons), reasons


@pytest.mark.parametrize(
    ("narrow", "wide"), [("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("float", "double")]
)
def test_numbers_widen_in_one_direction(narrow: str, wide: str) -> None:
    assert incompatibilities(narrow, wide) == [f"the old cannot read the new: the schema is {wide}, read as {narrow}"]
    assert incompatibilities(wide, narrow) == [f"the new cannot read the old: the schema is {wide}, read as {narrow}"]
