"""The documents of one write as bulk requests: for each data stream, within the limit, made when they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, groupby

from search.elastic_document import Lines, batch_and_item
from search.elastic_items import Chunk
from search.encoded import EncodedDocuments
from search.port import Batch, Document, DocumentFault, Stream


class Load:
    """Take first `chunks()` to the end, then `repeated()`."""

    def __init__(self, batches: Iterable[Batch], target: Callable[[Stream, str], str], bytes_max: int) -> None:
        """`target` prepares and names the data stream of a stream and tenant; a document of more than `bytes_max` goes alone."""
        self._batches = batches
        self._target = target
        self._bytes_max = bytes_max
        self._lines = Lines()
        self._open: dict[str, Chunk] = {}
        self._seen: set[str] = set()
        self._again: list[tuple[int, Batch]] = []
        self.counts: Counter[str] = Counter()
        """Documents of each data stream so far."""
        self.faults: list[DocumentFault] = []
        """Of those that are no JSON."""

    def chunks(self) -> Iterator[Chunk]:
        """Everything but what stands there more than once."""
        start = 0
        for batch in self._batches:
            if self._is_new(batch.documents):
                yield from self._of(batch.documents, start, batch.maybe_written)
            else:
                self._again.append((start, batch))
            start += len(batch.documents)
        yield from self._rest()

    def repeated(self) -> Iterator[Chunk]:
        """Batches that came twice, for when the first is written: it may be in another backing index."""
        for start, batch in self._again:
            yield from self._of(batch.documents, start, True)
        yield from self._rest()

    def _is_new(self, documents: Sequence[Document]) -> bool:
        if isinstance(documents, EncodedDocuments):
            batches, is_new = {documents.batch}, True
        else:
            ids = {document.id for document in documents}
            batches, is_new = {batch_and_item(id_)[0] for id_ in ids}, len(ids) == len(documents)
        is_new = is_new and self._seen.isdisjoint(batches)
        self._seen |= batches
        return is_new

    def _of(self, documents: Sequence[Document], start: int, maybe: bool) -> Iterator[Chunk]:
        if isinstance(documents, EncodedDocuments):
            if documents:
                target = self._target(documents.stream, documents.tenant)
                yield from self._packed(target, documents, 0, start, self._lines.of_encoded(documents), maybe)
            return
        lines = [self._line(document, start + at) for at, document in enumerate(documents)]
        for (stream, tenant, is_json), run in groupby(
            range(len(documents)), lambda at: (documents[at].stream, documents[at].tenant, lines[at] is not None)
        ):
            if is_json:
                found = list(run)
                of_run = [line for line in lines[found[0] : found[-1] + 1] if line is not None]
                yield from self._packed(self._target(stream, tenant), documents, found[0], start, of_run, maybe)

    def _line(self, document: Document, position: int) -> bytes | None:
        try:
            return self._lines.of(document)
        except TypeError as error:
            self.faults.append(DocumentFault(position, "encoding", f"no JSON: {error}"[:500]))
            return None

    def _packed(
        self, target: str, documents: Sequence[Document], first: int, start: int, lines: Sequence[bytes], maybe: bool
    ) -> Iterator[Chunk]:
        """`lines` are those of documents[first:]; yields each chunk that is full."""
        self.counts[target] += len(lines)
        ends = list(accumulate(map(len, lines), initial=0))
        done = 0
        while done < len(lines):
            chunk = self._open.get(target)
            if chunk is None:
                chunk = self._open[target] = Chunk(target)
            end = bisect_right(ends, ends[done] + self._bytes_max - chunk.size_bytes) - 1
            if end <= done and not chunk.data:
                end = done + 1
            if end > done:
                chunk.add(documents, range(first + done, first + end), start, lines[done:end], maybe)
                done = end
            if done < len(lines):
                yield self._open.pop(target)

    def _rest(self) -> Iterator[Chunk]:
        while self._open:
            yield self._open.popitem()[1]
