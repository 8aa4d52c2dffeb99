"""Pages of documents out of a data stream, ordered by (time, id), without gap or repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from search.elastic_client import Answer, Client
from search.elastic_document import OURS, batch_and_item, document_from
from search.elastic_errors import AnswerTooLargeError
from search.elastic_names import data_stream, in_path
from search.elastic_query import LONG_MAX, LONG_MIN, Filter, every
from search.elastic_time import TIME_NS_MAX, spelled
from search.port import Document, QuerySyntaxError, SearchUnavailableError, Stream

_CURSOR = re.compile(r"(-?\d{1,19})_([0-9a-f-]{1,80})")
_NANOS: Final = "strict_date_optional_time_nanos"
_SCAN_SIZE: Final = 1_000
_PARAMETERS: Final = "ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last document of the page before."""

    time_ns: int
    id: str

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises QuerySyntaxError."""
        found = _CURSOR.fullmatch(text)
        if found is None or not LONG_MIN <= int(found[1]) <= LONG_MAX:
            raise QuerySyntaxError(f"{text[:80]!r} is no cursor; use what the page before gave as next.")
        return cls(int(found[1]), found[2])

    @classmethod
    def of(cls, document: Document) -> Cursor:
        return cls(document.time_ns, document.id)

    def __str__(self) -> str:
        return f"{self.time_ns}_{self.id}"

    def search_after(self) -> list[str]:
        """As sort values."""
        return [spelled(min(max(self.time_ns, 0), TIME_NS_MAX)), *batch_and_item(self.id)]


@dataclass(frozen=True, slots=True)
class Found:
    """A page as the server gave it."""

    documents: Sequence[Document]
    """Each once: a rollover can let a second copy in, until its writer removes it."""
    total: int
    whole: bool
    """Whether it ends where the matches end."""
    size_bytes: int


class StreamSearch:
    """Searches in the data stream of one tenant; a data stream that does not exist is empty."""

    def __init__(self, client: Client, stream: Stream, dataset: str, tenant: str) -> None:
        self._client = client
        self._stream: Stream = stream
        self._tenant = tenant
        self._path = f"/{in_path(data_stream(stream, dataset, tenant))}/_search?{_PARAMETERS}"

    def ask(self, filters: Sequence[Filter], **body: Any) -> Answer:
        """A search with further parts of its body. Raises SearchUnavailableError."""
        return self._client.ask("POST", self._path, {"query": every(filters), **body})

    def page(
        self,
        filters: Sequence[Filter],
        size: int,
        after: Cursor | None = None,
        order: Literal["asc", "desc"] = "desc",
        total: bool = True,
    ) -> Found:
        """At most `size` documents; fewer when they would exceed the limit of an answer, at least one if there is one."""
        body: dict[str, Any] = {"sort": _sort(order), "track_total_hits": total}
        if after is not None:
            body["search_after"] = after.search_after()
        while True:
            try:
                answer = self.ask(filters, size=size, **body)
                break
            except AnswerTooLargeError:
                if size == 1:
                    raise
                size = max(1, size // 4)
        hits = answer.body["hits"]
        return Found(
            self._documents(hits["hits"]),
            hits.get("total", {}).get("value", 0),
            len(hits["hits"]) < size,
            len(answer.data),
        )

    def scan(self, filters: Sequence[Filter], order: Literal["asc", "desc"] = "asc") -> Iterator[Found]:
        """All that match, page by page."""
        after: Cursor | None = None
        while True:
            found = self.page(filters, _SCAN_SIZE, after, order, total=False)
            yield found
            if found.whole or not found.documents:
                return
            after = Cursor.of(found.documents[-1])

    def _documents(self, hits: Sequence[Any]) -> list[Document]:
        found: list[Document] = []
        for hit in hits:
            try:
                document = document_from(hit, self._stream, self._tenant)
            except (ValueError, KeyError, TypeError) as error:
                raise SearchUnavailableError(
                    f"a document in Elasticsearch was changed by somebody else: {error}"
                ) from error
            if not found or found[-1].id != document.id:
                found.append(document)
        return found


def _sort(order: str) -> list[Any]:
    words = {"order": order, "unmapped_type": "keyword"}
    time = {"order": order, "format": _NANOS, "unmapped_type": "date_nanos"}
    return [{"@timestamp": time}, {f"{OURS}.batch": words}, {f"{OURS}.item": words}]
