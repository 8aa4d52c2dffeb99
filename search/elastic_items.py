"""What a bulk answer says of each item, and whose fault a refusal is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from search.elastic_errors import NoAnswerError, reason_of
from search.port import Document, SearchUnavailableError

_DOCUMENT_ERRORS: Final = frozenset(
    {"document_parsing_exception", "mapper_parsing_exception", "strict_dynamic_mapping_exception"}
)
_DOCUMENT_WORDS: Final = ("immense term", "is too long")
"""In the reason of an illegal_argument_exception, which else is not about the document."""


@dataclass(slots=True)
class Item:
    """One document on its way; `maybe` grows true once an attempt may have stored it."""

    position: int
    id: str
    item_hash: int
    data: bytes
    """Action and line, as a bulk body holds them."""
    maybe: bool


class Chunk:
    """Documents of one data stream for one bulk request, in columns: most of them are never looked at one by one."""

    def __init__(self, target: str) -> None:
        """`target` is the data stream."""
        self.target = target
        self.data: list[bytes] = []
        self.size_bytes = 0
        self.maybe = False
        """Whether any of them may have been written before."""
        self._parts: list[tuple[Sequence[Document], range, int, bool]] = []

    def add(self, documents: Sequence[Document], which: range, start: int, lines: Sequence[bytes], maybe: bool) -> None:
        """Some neighbours of a batch whose first document has the position `start` in the write."""
        self._parts.append((documents, which, start, maybe))
        self.data += lines
        self.size_bytes += sum(map(len, lines))
        self.maybe = self.maybe or maybe

    def items(self) -> list[Item]:
        """The same, one by one."""
        found = ((start + at, documents[at], maybe) for documents, which, start, maybe in self._parts for at in which)
        return [
            Item(position, document.id, document.item_hash, data, maybe)
            for (position, document, maybe), data in zip(found, self.data, strict=True)
        ]


@dataclass(slots=True)
class Outcome:
    """What became of the items of one bulk request."""

    created: list[tuple[Item, str]] = field(default_factory=list)
    """With the backing index that each is in, where it was asked for."""
    held: list[tuple[Item, str]] = field(default_factory=list)
    """An item of that id is there already, in that index."""
    again: list[Item] = field(default_factory=list)
    """Refused for now."""
    refused: list[tuple[Item, str]] = field(default_factory=list)
    """For what the document is, with the server's words."""
    reason: str = ""
    """Of the last that was refused for now."""


def all_created(data: bytes, count: int) -> bool:
    """Whether a bulk answer says of so many items, and of no other, that they were created; without taking it apart."""
    return data.startswith(b'{"errors":false') and data.count(b'"status":201') == count == data.count(b'"status":')


def outcome_of(body: Any, items: Sequence[Item]) -> Outcome:
    """Sorts the items of a bulk of creates. Raises NoAnswerError when the answer is not one of a bulk, and SearchUnavailableError when an
    item is refused for what is the store's fault and no waiting will mend.
    """
    found = body.get("items") if isinstance(body, dict) else None
    if not isinstance(found, list) or len(found) != len(items):
        raise NoAnswerError("Elasticsearch's answer to a bulk request is none: a proxy may have spoken for it.")
    outcome = Outcome()
    for item, said in zip(items, found, strict=True):
        create = said.get("create", {})
        status = create.get("status", 0)
        if status == 201:
            outcome.created.append((item, create.get("_index", "")))
        elif status == 409:
            outcome.held.append((item, create.get("_index") or create.get("error", {}).get("index", "")))
        else:
            _sort(item, status, create, outcome)
    return outcome


def _sort(item: Item, status: int, create: Any, outcome: Outcome) -> None:
    error = create.get("error", {})
    cause = reason_of({"error": error})
    if status == 429 or status >= 500 or error.get("type") == "cluster_block_exception":
        outcome.again.append(item)
        outcome.reason = cause
    elif status == 400 and _is_of_document(error):
        outcome.refused.append((item, _detail(error, cause)))
    else:
        raise SearchUnavailableError(f"Elasticsearch refuses to store documents ({status}): {cause}")


def _detail(error: Any, cause: str) -> str:
    # What stands behind is a part of the document.
    where, why = (text.split(" in document with id")[0] for text in (str(error.get("reason", "")), cause))
    return why if why.endswith(where) else f"{where}: {why}"


def _is_of_document(error: Any) -> bool:
    kind = error.get("type")
    words = str(error)
    return kind in _DOCUMENT_ERRORS or (
        kind == "illegal_argument_exception" and any(word in words for word in _DOCUMENT_WORDS)
    )
