"""How a document stands in a Tantivy index: columns to find and sum it by, and one stored field that gives it back whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import tantivy

from search.port import Document, Stream

WORD_BYTES_MAX = 255
"""Longer words of a body are not indexed."""
_TERM_CHARS_MAX = 1024
_TEXT_FIELDS = ("id", "tenant", "service", "operation", "trace_id", "span_id", "attribute")
_TEXT_COLUMNS = ("id", "service", "operation")
_UNKNOWN_SERVICE = "unknown_service"

WORDS: Final = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    .filter(tantivy.Filter.remove_long(WORD_BYTES_MAX + 1))
    .filter(tantivy.Filter.lowercase())
    .build()
)


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in _TEXT_FIELDS:
        builder.add_text_field(name, fast=name in _TEXT_COLUMNS, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("body", tokenizer_name="words", index_option="position")
    for name in ("time_ns", "severity_number", "duration_ns", "event_minute", "item_hash"):
        builder.add_integer_field(name, fast=True)
    builder.add_bytes_field("stored", stored=True)
    return builder.build()


SCHEMA: Final = _schema()


def open_index(folder: Path, create: bool = False) -> tantivy.Index:
    """The index of a folder, reloaded only on demand; raises ValueError when it is not there or not readable."""
    index = tantivy.Index(SCHEMA, str(folder)) if create else tantivy.Index.open(str(folder))
    index.register_tokenizer("words", WORDS)
    index.config_reader("manual")
    index.reload()
    return index


def probe(index: tantivy.Index) -> None:
    """Touch every part of an index that opening it does not; raises ValueError, or the engine's panic, when one is damaged."""
    searcher = index.searcher()
    for field in _TEXT_FIELDS:
        searcher.doc_freq(field, "")
    newest = searcher.search(tantivy.Query.all_query(), 1, order_by_field="time_ns")
    for _, address in newest.hits:
        document_from(searcher.doc(address).get_first("stored") or b"")


def term_of(text: str) -> str:
    """The text as one exact term: what is very long is cut, and told apart by a digest of the whole."""
    if len(text) <= _TERM_CHARS_MAX:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[: _TERM_CHARS_MAX - len(digest)]}{digest}"


def attribute_term(scope: str, key: str, value: object) -> str:
    """One attribute as one exact term; `scope` is attributes or resource. Numbers and booleans are compared as their JSON text."""
    text = value if isinstance(value, str) else value_text(value)
    return term_of(f"{scope}.{key}\0{text}")


def value_text(value: object) -> str:
    """An attribute's value as text: true and false as JSON has them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def service_of(source: Mapping[str, Any]) -> str:
    """The service that a document belongs to."""
    return str(_resource(source).get("service.name", _UNKNOWN_SERVICE))


class Columns:
    """Makes the engine's documents. Remembers what it made of the last resource, which the documents of a batch share."""

    def __init__(self) -> None:
        self._resource: object = None
        self._service = ""
        self._resource_terms: Sequence[str] = ()

    def of(self, document: Document) -> tantivy.Document:
        """The columns and the stored bytes of one document; raises ValueError when it cannot be stored."""
        source = document.source
        if self._resource is None or source.get("resource") is not self._resource:
            self._resource = source.get("resource")
            self._service = term_of(service_of(source))
            self._resource_terms = [attribute_term("resource", k, v) for k, v in _resource(source).items()]
        terms = [attribute_term("attributes", k, v) for k, v in source.get("attributes", {}).items()]
        terms += self._resource_terms
        columns: dict[str, Any] = {
            "id": document.id,
            "tenant": term_of(document.tenant),
            "service": self._service,
            "time_ns": document.time_ns,
            "event_minute": document.event_minute,
            "item_hash": document.item_hash,
            "attribute": terms,
            "stored": _stored(document),
        }
        if trace_id := source.get("trace_id"):
            columns["trace_id"] = trace_id
        if span_id := source.get("span_id"):
            columns["span_id"] = span_id
        if document.stream == "logs":
            columns["body"] = source.get("body", {}).get("text", "")
            columns["severity_number"] = source.get("severity_number", 0)
        else:
            columns["operation"] = term_of(source.get("name", ""))
            columns["duration_ns"] = source.get("duration", 0)
        return tantivy.Document.from_dict(columns, SCHEMA)


def document_from(stored: bytes) -> Document:
    """The inverse of what tantivy_document stores."""
    stream: Stream
    stream, id_, tenant, time_ns, item_hash, event_minute, source = orjson.loads(stored)
    return Document(id_, stream, tenant, time_ns, item_hash, event_minute, source)


def _stored(document: Document) -> bytes:
    return orjson.dumps(
        (
            document.stream,
            document.id,
            document.tenant,
            document.time_ns,
            document.item_hash,
            document.event_minute,
            document.source,
        )
    )


def _resource(source: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = source.get("resource", {}).get("attributes", {})
    return found
