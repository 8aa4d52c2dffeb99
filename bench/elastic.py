"""Log records: from the bus into Elasticsearch, on a server of the bench's own. What the server pays, it pays for the bodies alone too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from bus.port import Record
from heliograph import contracts
from heliograph.message import Headers
from search.elastic_client import ElasticClient
from search.elastic_document import Lines
from search.elastic_flight import in_flight
from search.elastic_names import data_stream, in_path
from search.elastic_settings import ElasticSettings
from search.elastic_writer import ElasticWriter
from sinks.decode import decode_records
from sinks.documents import DocumentSink
from sinks.log_shape import log_documents
from sinks.port import Cut
from tests.servers.elasticsearch import start_elasticsearch

from .line import Line, Spent
from .load import log_messages
from .stack import Stack

COUNT = 60_000
WARM_UP, ROUNDS = 3, 9
_JVM = ("-Xms1536m", "-Xmx1536m")
_CONTENT_BYTES = 100 * 1024 * 1024


def run(folder: Path) -> list[Line]:
    """Making bulk bodies; then all of it, in turns with the same bodies from memory, so that both meet the same machine."""
    stack = Stack(folder / "elastic")
    stack.produce(log_messages(1, COUNT))
    cuts = list(stack.cuts("bench", (contracts.LOGS_TOPIC,), DocumentSink.limits.bytes_max))
    records = [record for cut in cuts for record in cut.records]
    made, dumped = (_best(way, stack, records) for way in (_bodies, _dumped))
    shared = _served(stack, cuts, folder / "shared", None)
    apart = _served(stack, cuts, folder / "apart", sorted(os.sched_getaffinity(0)))
    return [
        Line("logs to bulk bodies", COUNT / made, "records/core-s", COUNT / dumped, "decode and dump"),
        *(
            Line(
                f"router search, bus to Elasticsearch, {where}",
                COUNT / routed,
                "records/s",
                COUNT / alone,
                "the bodies alone",
            )
            for where, (routed, alone) in (
                ("all on the same cores", shared),
                ("the server on a core of its own", apart),
            )
        ),
    ]


def _best(way: Callable[[Stack, Sequence[Record]], object], stack: Stack, records: Sequence[Record]) -> float:
    spent = []
    for _ in range(3):
        with Spent() as one:
            way(stack, records)
        spent.append(one.cpu_s)
    return min(spent)


def _bodies(stack: Stack, records: Sequence[Record]) -> None:
    for record in records:
        b"".join(_lines(stack, record))


def _lines(stack: Stack, record: Record) -> list[bytes]:
    tenant = Headers.decode(record.headers).tenant
    return Lines().of_encoded(log_documents(decode_records(record, "log_batch", stack.schemas), tenant))


def _dumped(stack: Stack, records: Sequence[Record]) -> None:
    for record in records:
        batch = decode_records(record, "log_batch", stack.schemas)
        for one in batch["records"]:
            orjson.dumps(one, default=bytes.hex)


def _served(stack: Stack, cuts: Sequence[Cut], folder: Path, cores: Sequence[int] | None) -> tuple[float, float]:
    """On a server of its own, on the first of `cores` and we on the others; as a cluster has machines of its own in production."""
    folder.mkdir()
    if cores:
        os.sched_setaffinity(0, cores[:1])
    try:
        server = start_elasticsearch(_JVM, _CONTENT_BYTES)
        try:
            if cores:
                os.sched_setaffinity(0, cores[1:] or cores)
            return _rounds(server.url, stack, cuts, folder)
        finally:
            server.server.kill()
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def _rounds(url: str, stack: Stack, cuts: Sequence[Cut], folder: Path) -> tuple[float, float]:
    """Wall seconds of the quickest round of each; the first ones only warm the server up."""
    routed, alone = [], []
    for number in range(ROUNDS):
        settings = ElasticSettings((url,), dataset=f"bench.{number}", replicas=0)
        routed.append(_routed(settings, stack, cuts))
        settings = ElasticSettings((url,), dataset=f"alone.{number}", replicas=0)
        alone.append(_alone(settings, stack, cuts, folder))
    return min(routed[WARM_UP:]), min(alone[WARM_UP:])


def _routed(settings: ElasticSettings, stack: Stack, cuts: Sequence[Cut]) -> float:
    writer = ElasticWriter(settings)
    writer.check()
    sink = DocumentSink(writer, stack.schemas)
    start = time.perf_counter()
    items = sum(sink.write(cut).items for cut in cuts)
    took = time.perf_counter() - start
    assert items == COUNT
    sink.close()
    return took


def _alone(settings: ElasticSettings, stack: Stack, cuts: Sequence[Cut], folder: Path) -> float:
    """The same bodies, in requests of the same size, read from files, without looking at the answers."""
    writer = ElasticWriter(settings)
    writer.check()
    writer.close()
    files = []
    for number, cut in enumerate(cuts):
        files.append(folder / f"{settings.dataset}.{number}")
        files[-1].write_bytes(b"".join(line for record in cut.records for line in _lines(stack, record)))
    target = in_path(data_stream("logs", settings.dataset, "default"))
    client = ElasticClient(settings)

    def send(body: bytes) -> None:
        assert client.post_lines(f"/{target}/_bulk?filter_path=errors", body).body == {"errors": False}

    with ThreadPoolExecutor(settings.in_flight_max) as threads:
        start = time.perf_counter()
        for file in files:
            for _ in in_flight(
                threads, settings.in_flight_max, send, _parts(file.read_bytes(), settings.bulk_bytes_max)
            ):
                pass
            client.ask("POST", f"/{target}/_refresh")
        took = time.perf_counter() - start
    client.close()
    return took


def _parts(body: bytes, bytes_max: int) -> Iterator[bytes]:
    start = 0
    while start < len(body):
        end = len(body)
        if end - start > bytes_max:
            end = body.rindex(b'{"create"', start, start + bytes_max)
        yield body[start:end]
        start = end


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        for line in run(Path(name)):
            print(line, round(line.value / (line.ceiling or 1), 3))
