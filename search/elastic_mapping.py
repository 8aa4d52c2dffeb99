"""How the fields of logs and traces are indexed. Nothing is mapped on its own: a field that is not named here is kept, not indexed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from search.elastic_document import OURS, RESOURCE_KEYS, VALUE_CHARS_MAX
from search.port import Stream

Mappings = Mapping[str, Any]

_WORD: Final = {"type": "keyword", "ignore_above": VALUE_CHARS_MAX}
_EXACT: Final = {"type": "keyword"}
_NANOS: Final = {"type": "date_nanos", "ignore_malformed": True}
_NUMBER: Final = {"type": "long", "ignore_malformed": True}
_FREE: Final = {"type": "flattened", "ignore_above": VALUE_CHARS_MAX}
_STORED: Final = {"type": "object", "enabled": False}

_ECS_OF_RESOURCE: Final = {
    "host.name": "host.name",
    "service.version": "service.version",
    "service.namespace": "service.namespace",
    "service.node.name": "service.instance.id",
    "container.id": "container.id",
    "container.name": "container.name",
    "orchestrator.namespace": "k8s.namespace.name",
    "kubernetes.namespace": "k8s.namespace.name",
    "kubernetes.node.name": "k8s.node.name",
    "kubernetes.pod.name": "k8s.pod.name",
    "kubernetes.container.name": "k8s.container.name",
    "kubernetes.deployment.name": "k8s.deployment.name",
    "service.environment": "deployment.environment.name",
}
WORDS: Final = {
    "tokenizer": {"heliograph": {"type": "char_group", "tokenize_on_chars": ["whitespace", "punctuation", "symbol"]}},
    "analyzer": {"default": {"type": "custom", "tokenizer": "heliograph", "filter": ["lowercase"]}},
}
"""Runs of letters and digits, in lower case. The default of an index, because match_only_text takes no analyzer of its own."""


@dataclass(frozen=True, slots=True)
class Types:
    """What the server has of all that a small one may lack."""

    match_only_text: bool
    constant_keyword: bool
    words: bool
    """Whether texts can be cut into words as docs/formats/documents.md has them; else by the standard analyzer."""


def settings(types: Types) -> Mappings:
    """The settings of a stream's indices."""
    index: dict[str, Any] = {"mode": "standard", "translog": {"durability": "request"}}
    return {"index": index | ({"analysis": WORDS} if types.words else {})}


def mappings(stream: Stream, types: Types) -> Mappings:
    """The whole mapping of a stream's indices."""
    text: dict[str, Any] = {"type": "match_only_text"} if types.match_only_text else {"type": "text", "norms": False}
    constant = {"type": "constant_keyword"} if types.constant_keyword else _EXACT
    fields = {
        "@timestamp": {"type": "date_nanos"},
        "trace_id": _EXACT,
        "span_id": _EXACT,
        "attributes": _FREE,
        "resource": _object({"attributes": _FREE}),
        "scope": _object({"name": _WORD, "version": _WORD}),
        "data_stream": _object({"type": constant, "dataset": constant, "namespace": constant}),
        OURS: _ours(),
    }
    fields |= _logs(text) if stream == "logs" else _traces(text)
    return {"dynamic": False, "properties": fields | _aliases(stream)}


def _ours() -> dict[str, Any]:
    return _object({
        "batch": _EXACT,
        "item": _EXACT,
        "item_hash": {"type": "long"},
        "event_minute": {"type": "long"},
        "service": _EXACT,
        "resource": _object(_nested(dict.fromkeys(RESOURCE_KEYS, _EXACT))),
        "long": {"type": "keyword", "doc_values": False},
        "kept": _STORED,
    })  # fmt: skip


def _logs(text: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "observed_timestamp": _NANOS,
        "severity_number": {"type": "byte", "ignore_malformed": True},
        "severity_text": _WORD,
        "body": _object({"text": text}),
        "truncated_bytes": _NUMBER,
    }


def _traces(text: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parent_span_id": _EXACT,
        "trace_state": _WORD,
        "name": _WORD,
        "kind": _WORD,
        "duration": {"type": "long"},
        "status": _object({"code": _WORD, "message": text}),
        "events": _object({"name": _WORD, "attributes": _STORED}),
        "links": _object({"trace_id": _WORD, "span_id": _WORD, "attributes": _STORED}),
    }


def _aliases(stream: Stream) -> dict[str, Any]:
    """Names of the Elastic Common Schema."""
    paths = {ecs: f"{OURS}.resource.{key}" for ecs, key in _ECS_OF_RESOURCE.items()}
    paths |= {"service.name": f"{OURS}.service", "trace.id": "trace_id", "span.id": "span_id"}
    if stream == "logs":
        paths |= {"message": "body.text", "log.level": "severity_text"}
    else:
        paths |= {"parent.id": "parent_span_id", "span.name": "name", "span.kind": "kind"}
    return _nested({ecs: {"type": "alias", "path": path} for ecs, path in paths.items()})


def _nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as objects within objects."""
    root: dict[str, Any] = {}
    for name, field in fields.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            at = at.setdefault(part, {"properties": {}})["properties"]
        at[last] = field
    return root


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": dict(fields)}
