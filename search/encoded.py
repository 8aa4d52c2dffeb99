"""The documents of one batch in columns, their sources as JSON text: on its way to a store hardly any needs an object of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import orjson

from search.port import Document, Stream


@dataclass(frozen=True, slots=True, eq=False)
class EncodedDocuments(Sequence[Document]):
    """Each column has one entry per document; a Document is made when one is asked for."""

    stream: Stream
    tenant: str
    batch: str
    """What stands before `-<index in hex>` in their ids."""
    indices: Sequence[int]
    times_ns: Sequence[int]
    item_hashes: Sequence[int]
    event_minutes: Sequence[int]
    sources: Sequence[bytes]
    """JSON objects in UTF-8 without spaces. `@timestamp` is time_ns in RFC 3339, in UTC with nine decimals; `heliograph` is no key."""
    resource: Mapping[str, Any]
    """What stands as resource.attributes in each source."""

    def __len__(self) -> int:
        return len(self.sources)

    @overload
    def __getitem__(self, at: int) -> Document: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Document]: ...
    def __getitem__(self, at: int | slice) -> Document | Sequence[Document]:
        if isinstance(at, slice):
            return self.only(range(len(self))[at])
        return Document(
            f"{self.batch}-{self.indices[at]:x}",
            self.stream,
            self.tenant,
            self.times_ns[at],
            self.item_hashes[at],
            self.event_minutes[at],
            orjson.loads(self.sources[at]),
        )

    def only(self, positions: Sequence[int]) -> EncodedDocuments:
        """Those at some positions."""
        return replace(
            self,
            indices=[self.indices[at] for at in positions],
            times_ns=[self.times_ns[at] for at in positions],
            item_hashes=[self.item_hashes[at] for at in positions],
            event_minutes=[self.event_minutes[at] for at in positions],
            sources=[self.sources[at] for at in positions],
        )
