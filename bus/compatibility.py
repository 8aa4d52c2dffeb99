"""Avro schema resolution decided ahead: can each of two schemas read what the other writes? (FULL; over all versions, FULL_TRANSITIVE.)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = ("record", "error", "enum", "fixed")


def incompatibilities(old: Any, new: Any) -> list[str]:
    """Why one of the two schemas, as fastavro parsed them, cannot read the other's data; empty when both can. Aliases are not used."""
    forward = [f"the old cannot read the new: {reason}" for reason in _Resolution(new, old).reasons()]
    backward = [f"the new cannot read the old: {reason}" for reason in _Resolution(old, new).reasons()]
    return backward + forward


class _Resolution:
    """One direction: data of `writer` read as `reader`."""

    def __init__(self, writer: Any, reader: Any) -> None:
        self._writer = writer
        self._reader = reader
        self._writer_names = dict(_named_types(writer))
        self._reader_names = dict(_named_types(reader))
        self._seen: set[tuple[str, str]] = set()

    def reasons(self) -> list[str]:
        return list(self._resolve(self._writer, self._reader, ""))

    def _resolve(self, writer: Any, reader: Any, path: str) -> Iterator[str]:
        writer, reader = _resolved(writer, self._writer_names), _resolved(reader, self._reader_names)
        if isinstance(writer, list):
            for branch in writer:
                yield from self._resolve(branch, reader, path)
            return
        if isinstance(reader, list):
            yield from self._into_union(writer, reader, path)
            return
        wrote, reads = _type(writer), _type(reader)
        if wrote in _NAMED and wrote == reads:
            yield from self._named(writer, reader, path)
        elif wrote == reads == "array":
            yield from self._resolve(writer["items"], reader["items"], f"{path}[]")
        elif wrote == reads == "map":
            yield from self._resolve(writer["values"], reader["values"], f"{path}{{}}")
        elif wrote != reads and reads not in _PROMOTIONS.get(wrote, ()):
            yield f"{path or 'the schema'} is {wrote}, read as {reads}"

    def _into_union(self, writer: Any, reader: list[Any], path: str) -> Iterator[str]:
        # A trial must leave no mark of what it has seen when its branch does not fit.
        for branch in reader:
            seen = set(self._seen)
            if not list(self._resolve(writer, branch, path)):
                return
            self._seen = seen
        yield f"{path or 'the schema'} is {_type(writer)}, which is in no branch of the union [{', '.join(map(_type, reader))}]"

    def _named(self, writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Iterator[str]:
        where = path or str(writer["name"])
        if _short(writer["name"]) != _short(reader["name"]):
            yield f"{where} is {writer['name']}, read as {reader['name']}"
            return
        kind = _type(writer)
        if kind == "fixed":
            if writer["size"] != reader["size"]:
                yield f"{where} has {writer['size']} bytes, read as {reader['size']}"
        elif kind == "enum":
            missing = [s for s in writer["symbols"] if s not in reader["symbols"]]
            if missing and "default" not in reader:
                yield f"{where} may be {', '.join(missing)}, which the reader does not know and has no default for"
        elif (writer["name"], reader["name"]) not in self._seen:
            self._seen.add((writer["name"], reader["name"]))
            yield from self._record(writer, reader, path)

    def _record(self, writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Iterator[str]:
        written = {f["name"]: f for f in writer["fields"]}
        for field in reader["fields"]:
            where = f"{path}.{field['name']}".lstrip(".")
            if field["name"] in written:
                yield from self._resolve(written[field["name"]]["type"], field["type"], where)
            elif "default" not in field:
                yield f"{where} is not written and has no default"


def _type(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _resolved(schema: Any, names: Mapping[str, Any]) -> Any:
    """The definition behind a name, and the type within {"type": …} around a primitive or a union."""
    while True:
        if isinstance(schema, str) and schema in names:
            return names[schema]
        if not isinstance(schema, dict) or (isinstance(schema["type"], str) and schema["type"] not in names):
            return schema
        schema = schema["type"]


def _named_types(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _named_types(branch)
    elif isinstance(schema, dict):
        if schema["type"] in _NAMED:
            yield str(schema["name"]), schema
        for field in schema.get("fields", ()):
            yield from _named_types(field["type"])
        for part in ("items", "values", "type"):
            if isinstance(schema.get(part), dict | list):
                yield from _named_types(schema[part])
