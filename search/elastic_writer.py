"""The document store on Elasticsearch, writing side: data streams, documents created once by id."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from search.elastic_bulk import BulkWriter, Tally
from search.elastic_check import check_server
from search.elastic_client import Client, ElasticClient
from search.elastic_document import Lines
from search.elastic_flight import in_flight
from search.elastic_items import Chunk
from search.elastic_names import data_stream, in_path
from search.elastic_settings import ElasticSettings
from search.elastic_templates import Templates
from search.port import Document, DocumentFault, DocumentFaultError, SearchUnavailableError, StoreWritten, Stream

_BACK_OFF_S: Final = 0.2
_BACK_OFF_S_MAX: Final = 5.0


class ElasticWriter:
    """A DocumentWriter over a cluster, used by one thread; any number of them may write at the same time.

    A document that was never tried costs nothing but its bulk item. One that may have been is looked up in the data stream's older
    indices before and after it is created, because Elasticsearch keeps ids apart within one index only.
    """

    def __init__(
        self,
        settings: ElasticSettings,
        sleep: Callable[[float], None] = time.sleep,
        random_: Callable[[], float] = random.random,
        client: Client | None = None,
    ) -> None:
        """Connects to nothing yet; `random_` gives [0, 1). Raises SearchConfigError when a certificate file cannot be used."""
        self._settings = settings
        self._sleep = sleep
        self._random = random_
        self._owned: ElasticClient | None = None
        if client is None:
            client = self._owned = ElasticClient(settings)
        self._client = client
        self._templates = Templates(self._client, settings)
        self._ready: set[str] = set()
        self._threads = ThreadPoolExecutor(settings.in_flight_max, "elastic-bulk")
        self._closed = False
        self.clashes = 0
        """Documents that came under the id of another one, since the start."""

    def check(self) -> None:
        """Connect, and make sure that documents can be written. Raises SearchConfigError for what the operator must mend, and
        SearchUnavailableError when the server is not there.
        """
        check_server(self._client, self._templates.ensure)
        self._ready.add("")

    def write(self, documents: Sequence[Document], maybe_written: Sequence[bool]) -> StoreWritten:
        if self._closed:
            raise SearchUnavailableError("this writer of Elasticsearch is closed")
        total = Tally()
        by_stream = self._by_stream(documents)
        try:
            for (stream, target), positions in by_stream.items():
                self._prepare(stream, target)
                self._write_stream(target, positions, documents, maybe_written, total)
            self._refresh([target for _, target in by_stream])
        except SearchUnavailableError:
            # Whatever it was: templates and data streams are looked at again before the next write.
            self._ready.clear()
            raise
        written = StoreWritten(total.created, total.duplicates)
        if total.faults:
            raise DocumentFaultError(sorted(total.faults, key=lambda f: f.position), written)
        return written

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown()
        if self._owned is not None:
            self._owned.close()

    def _by_stream(self, documents: Sequence[Document]) -> dict[tuple[Stream, str], Sequence[int]]:
        """The positions of each data stream's documents."""
        kinds = {(document.stream, document.tenant) for document in documents}
        named = {kind: (kind[0], data_stream(kind[0], self._settings.dataset, kind[1])) for kind in kinds}
        if len(named) == 1:
            return {name: range(len(documents)) for name in named.values()}
        by_stream: dict[tuple[Stream, str], list[int]] = {}
        for position, document in enumerate(documents):
            by_stream.setdefault(named[document.stream, document.tenant], []).append(position)
        return {name: by_stream[name] for name in sorted(by_stream)}

    def _prepare(self, stream: Stream, target: str) -> None:
        if "" not in self._ready:
            self._templates.ensure()
            self._ready.add("")
        if target not in self._ready:
            self._templates.ensure_stream(stream, target)
            self._ready.add(target)

    def _write_stream(
        self,
        target: str,
        positions: Sequence[int],
        documents: Sequence[Document],
        maybe_written: Sequence[bool],
        total: Tally,
    ) -> None:
        chunks = self._chunks(positions, documents, maybe_written, total)
        refused: list[DocumentFault] = []
        for tally in in_flight(
            self._threads, self._settings.in_flight_max, lambda c: self._write_chunk(target, c), chunks
        ):
            total.created += tally.created
            total.duplicates += tally.duplicates
            refused += tally.faults
            self.clashes += tally.clashes
        # What fails alone is the document's fault; when most of many fail, the mapping is more likely to be wrong than they are.
        if len(refused) > 1 and 2 * len(refused) > len(positions):
            raise SearchUnavailableError(
                f"Elasticsearch refuses {len(refused)} of {len(positions)} documents for {target}; "
                f"look at its mapping: {refused[0].detail}"
            )
        total.faults += refused

    def _write_chunk(self, target: str, chunk: Chunk) -> Tally:
        writer = BulkWriter(self._client, target, self._settings.attempts_max, self._back_off)
        writer.write(chunk)
        return writer.tally

    def _chunks(
        self, positions: Sequence[int], documents: Sequence[Document], maybe_written: Sequence[bool], total: Tally
    ) -> Iterator[Chunk]:
        """Made one after the other, each within the limit, or a single document that is larger."""
        lines = Lines()
        bytes_max = self._settings.bulk_bytes_max
        repeated = _repeated(positions, documents)
        chunk = Chunk(documents)
        for position in positions:
            document = documents[position]
            try:
                data = lines.of(document)
            except TypeError as error:
                total.faults.append(DocumentFault(position, "encoding", f"no JSON: {error}"[:500]))
                continue
            if chunk.data and chunk.size_bytes + len(data) > bytes_max:
                yield chunk
                chunk = Chunk(documents)
            chunk.add(position, data, maybe_written[position] or document.id in repeated)
        if chunk.data:
            yield chunk

    def _refresh(self, targets: Sequence[str]) -> None:
        if not targets:
            return
        answer = self._client.ask("POST", f"/{in_path(*targets)}/_refresh?ignore_unavailable=true")
        failed = answer.body.get("_shards", {}).get("failed", 0)
        if failed:
            raise SearchUnavailableError(f"Elasticsearch could not make what was written visible on {failed} shards.")

    def _back_off(self, attempt: int) -> None:
        """Doubling, and up to twice as long by chance, so that writers do not come back together."""
        self._sleep(min(_BACK_OFF_S * 2 ** (attempt - 1), _BACK_OFF_S_MAX) * (1 + self._random()))


def _repeated(positions: Sequence[int], documents: Sequence[Document]) -> frozenset[str]:
    """Ids that stand there more than once: the second may be in another bulk than the first, and after a rollover."""
    ids = [documents[position].id for position in positions]
    if len(set(ids)) == len(ids):
        return frozenset()
    return frozenset(id_ for id_, count in Counter(ids).items() if count > 1)
