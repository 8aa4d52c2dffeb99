"""The document store on Elasticsearch, writing side: data streams, documents created once by id."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from search.elastic_bulk import BulkWriter, Tally
from search.elastic_check import check_server
from search.elastic_client import Client, ElasticClient
from search.elastic_flight import in_flight
from search.elastic_items import Chunk
from search.elastic_load import Load
from search.elastic_names import data_stream, in_path
from search.elastic_settings import ElasticSettings
from search.elastic_templates import Templates
from search.port import Batch, DocumentFault, DocumentFaultError, SearchUnavailableError, StoreWritten, Stream

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
        self._targets: dict[tuple[Stream, str], str] = {}
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

    def write(self, batches: Iterable[Batch]) -> StoreWritten:
        if self._closed:
            raise SearchUnavailableError("this writer of Elasticsearch is closed")
        load = Load(batches, self._prepared, self._settings.bulk_bytes_max)
        total = Tally()
        try:
            for chunks in (load.chunks(), load.repeated()):
                self._write_chunks(chunks, load, total)
            self._refresh(sorted(load.counts))
        except SearchUnavailableError:
            # Whatever it was: templates and data streams are looked at again before the next write.
            self._ready.clear()
            raise
        written = StoreWritten(total.created, total.duplicates)
        if faults := total.faults + load.faults:
            raise DocumentFaultError(sorted(faults, key=lambda f: f.position), written)
        return written

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown()
        if self._owned is not None:
            self._owned.close()

    def _prepared(self, stream: Stream, tenant: str) -> str:
        target = self._targets.get((stream, tenant))
        if target is None:
            target = self._targets[stream, tenant] = data_stream(stream, self._settings.dataset, tenant)
        if target not in self._ready:
            if "" not in self._ready:
                self._templates.ensure()
                self._ready.add("")
            self._templates.ensure_stream(stream, target)
            self._ready.add(target)
        return target

    def _write_chunks(self, chunks: Iterator[Chunk], load: Load, total: Tally) -> None:
        refused: dict[str, list[DocumentFault]] = {}
        for target, tally in in_flight(self._threads, self._settings.in_flight_max, self._write_chunk, chunks):
            total.created += tally.created
            total.duplicates += tally.duplicates
            refused.setdefault(target, []).extend(tally.faults)
            self.clashes += tally.clashes
        # What fails alone is the document's fault; when most of many fail, the mapping is more likely to be wrong than they are.
        for target, faults in refused.items():
            if len(faults) > 1 and 2 * len(faults) > load.counts[target]:
                raise SearchUnavailableError(
                    f"Elasticsearch refuses {len(faults)} of {load.counts[target]} documents for {target}; "
                    f"look at its mapping: {faults[0].detail}"
                )
            total.faults += faults

    def _write_chunk(self, chunk: Chunk) -> tuple[str, Tally]:
        writer = BulkWriter(self._client, chunk.target, self._settings.attempts_max, self._back_off)
        writer.write(chunk)
        return chunk.target, writer.tally

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
