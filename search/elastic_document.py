"""A document as JSON for Elasticsearch, and back from a hit: reversible, whatever the source holds.

The source stays as it is; beside it stands `heliograph`, what the store finds, sorts and sums documents by. Few sources need a change (a
time in another spelling, an attribute's key that Elasticsearch cannot index): then `heliograph.kept` holds the part as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

import orjson

from search.elastic_time import NANOS_PER_S, parsed, spelled
from search.encoded import EncodedDocuments
from search.port import Document, Stream

OURS: Final = "heliograph"
VALUE_CHARS_MAX: Final = 8191
"""Attributes longer than this are found by a digest."""
KEY_BYTES_MAX: Final = 8000
"""Key and value together must stay below the 32,766 bytes of a term."""
SERVICE_CHARS_MAX: Final = 1024
UNKNOWN_SERVICE: Final = "unknown_service"
RESOURCE_KEYS: Final = (
    "host.name",
    "service.version",
    "service.namespace",
    "service.instance.id",
    "deployment.environment.name",
    "container.id",
    "container.name",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.pod.name",
    "k8s.container.name",
    "k8s.deployment.name",
)
"""Resource attributes that are fields of their own too, so that names of the Elastic Common Schema can stand for them."""
_ABSENT: Final = "absent"
_KEPT: Final = "kept"
_RESOURCE_CHARS_MAX: Final = 1024
_NUL: Final = b"\\u0000"
_WITHOUT_END: Final = itemgetter(slice(None, -1))


class Lines:
    """Makes the two lines of a bulk body that create a document. Remembers what the documents of a batch share: the first part of
    their ids, and what was made of their resource.
    """

    def __init__(self) -> None:
        self._batch: str | None = None
        self._minute = 0
        self._minute_meta = b""
        self._action = b""
        self._meta = b""
        self._resource: object = None
        self._fragment = b""
        self._second: int | None = None
        self._stamp = ""

    def of(self, document: Document) -> bytes:
        """Both lines, each with its newline; raises TypeError when the source is no JSON."""
        source = document.source
        second, nanos = divmod(document.time_ns, NANOS_PER_S)
        if second != self._second:
            self._second, self._stamp = second, spelled(document.time_ns)[:20]
        stamp = f"{self._stamp}{nanos:09d}Z"
        more: dict[str, Any] = {}
        if source.get("@timestamp") != stamp or OURS in source:
            source = _restamped(source, stamp, more)
        resource = source.get("resource")
        if resource is None or resource is not self._resource:
            self._resource = resource
            self._fragment = _resource_fragment(_resource_attributes(source))
        line = orjson.dumps(source)
        if len(line) > VALUE_CHARS_MAX or _NUL in line:
            source = _indexable(source, more)
            line = orjson.dumps(source)
        batch, item = batch_and_item(document.id)
        if batch != self._batch or document.event_minute != self._minute:
            self._remember(batch, document.event_minute)
        # Letters and digits need no escape.
        name = item.encode() if item.isalnum() else orjson.dumps(item)[1:-1]
        action = self._action + name + b'"}}\n' if batch else create_action(document.id)
        hashed = b'","item_hash":%d' % document.item_hash
        kept = b"," + orjson.dumps(more)[1:-1] if more else b""
        return b"".join((action, line[:-1], self._meta, name, hashed, self._minute_meta, kept, self._fragment))

    def of_encoded(self, documents: EncodedDocuments) -> list[bytes]:
        """The same for each of a batch; their sources are taken as they are."""
        form = b'%b%%x"}}\n%%b,"heliograph":{"batch":%b,"item":"%%x","item_hash":%%d,"event_minute":%%d%b' % tuple(
            part.replace(b"%", b"%%")
            for part in (
                create_action(f"{documents.batch}-")[:-4],
                orjson.dumps(documents.batch),
                _resource_fragment(documents.resource),
            )
        )
        opened = map(_WITHOUT_END, documents.sources)
        columns = zip(
            documents.indices, opened, documents.indices, documents.item_hashes, documents.event_minutes, strict=True
        )
        lines = [form % values for values in columns]
        if max(map(len, documents.sources)) > VALUE_CHARS_MAX or _NUL in b"".join(documents.sources):
            for at, source in enumerate(documents.sources):
                if len(source) > VALUE_CHARS_MAX or _NUL in source:
                    lines[at] = self.of(documents[at])
        return lines

    def _remember(self, batch: str, minute: int) -> None:
        self._batch = batch
        self._action = create_action(f"{batch}-")[:-4]
        self._meta = b',"heliograph":{"batch":"%b","item":"' % orjson.dumps(batch)[1:-1]
        self._minute = minute
        self._minute_meta = b',"event_minute":%d' % minute


def create_action(id_: str) -> bytes:
    """The line before a document that creates it under an id."""
    return b'{"create":{"_id":%b}}\n' % orjson.dumps(id_)


def document_from(hit: Mapping[str, Any], stream: Stream, tenant: str) -> Document:
    """The document that a hit with its source stands for; raises ValueError when it is none of ours."""
    source = hit.get("_source")
    ours = source.pop(OURS, None) if isinstance(source, dict) else None
    if not isinstance(source, dict) or not isinstance(ours, dict):
        raise ValueError(f"{str(hit.get('_id'))[:80]} was not written by Heliograph")
    time_ns = parsed(source["@timestamp"])
    for key in ours.get(_ABSENT, ()):
        source.pop(key, None)
    source.update(ours.get(_KEPT, {}))
    return Document(str(hit["_id"]), stream, tenant, time_ns, int(ours["item_hash"]), int(ours["event_minute"]), source)


def batch_and_item(id_: str) -> tuple[str, str]:
    """An item's id in two parts, which sort one after the other as the whole id does."""
    batch, _, item = id_.rpartition("-")
    return batch, item


def service_term(name: str) -> str:
    """A service's name as one exact term: what is very long is cut, and told apart by a digest of the whole."""
    return name if len(name) <= SERVICE_CHARS_MAX else f"{name[: SERVICE_CHARS_MAX - 64]}{_digest(name)}"


def long_term(scope: str, key: str, value: str) -> str:
    """The term under which an attribute with a long value is found."""
    return _digest(f"{scope}.{key}\0{value}")


def _restamped(source: Mapping[str, Any], stamp: str, meta: dict[str, Any]) -> dict[str, Any]:
    was = {key: source[key] for key in ("@timestamp", OURS) if key in source and (key == OURS or source[key] != stamp)}
    if was:
        meta[_KEPT] = was
    if "@timestamp" not in source:
        meta[_ABSENT] = ["@timestamp"]
    return {key: value for key, value in source.items() if key != OURS} | {"@timestamp": stamp}


def _indexable(source: Mapping[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The source without attributes whose keys cannot be indexed; those with long values get a term of their own."""
    changed = dict(source)
    kept: dict[str, Any] = {}
    long: list[str] = []
    for field, scope, attributes in (
        ("attributes", "attributes", source.get("attributes", {})),
        ("resource", "resource", _resource_attributes(source)),
    ):
        long += [
            long_term(scope, k, v) for k, v in attributes.items() if isinstance(v, str) and len(v) > VALUE_CHARS_MAX
        ]
        fit = {k: v for k, v in attributes.items() if "\0" not in k and len(k.encode()) <= KEY_BYTES_MAX}
        if len(fit) != len(attributes):
            kept[field] = source[field]
            changed[field] = fit if field == "attributes" else {**source["resource"], "attributes": fit}
    if long:
        meta["long"] = long
    if kept:
        meta[_KEPT] = {**meta.get(_KEPT, {}), **kept}
    return changed


def _resource_fragment(attributes: Mapping[str, Any]) -> bytes:
    """What ends every line of this resource."""
    found: dict[str, Any] = {"service": service_term(str(attributes.get("service.name", UNKNOWN_SERVICE)))}
    named = {
        key: value
        for key in RESOURCE_KEYS
        if isinstance(value := attributes.get(key), str) and len(value) <= _RESOURCE_CHARS_MAX
    }
    if named:
        found["resource"] = named
    return b"," + orjson.dumps(found)[1:] + b"}\n"


def _resource_attributes(source: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = source.get("resource", {}).get("attributes", {})
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
