"""Samples into Cassandra, bus excluded, beside VictoriaMetrics by remote write: the same samples, both until they are on disk.

Of the router its process is counted, of the servers theirs; what the senders cost is counted for neither.
"""

from __future__ import annotations

import http.client
import resource
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cramjam
import numpy as np
import numpy.typing as npt
import psutil
from rich.console import Console

from bus.port import Record, TopicPartition
from bus.registry import UnknownSchemaError
from heliograph import contracts
from heliograph.message import Message
from heliograph.metrics import Layout
from sinks.decode import WriterSchemas
from sinks.port import Cut, Range
from sinks.samples import SampleSink
from tests.servers.cassandra import start_cassandra
from tests.servers.maven import cache_folder
from tests.servers.process import free_ports
from tsdb.cassandra import CassandraBlocks
from tsdb.metric_message import MetricMessages

from .line import Line, Spent
from .load import START_NS, scrapes, targets

TARGETS, SERIES = 200, 500
LEARN_ROUNDS, COLD_ROUNDS, ROUNDS = 2, 60, 60
WARMING_ROUNDS, WARMING_TURNS = 20, 100
"""The same messages again and again under new offsets, until the JVM has compiled what it uses: about 10,000 requests."""
RATE_TO_REACH = 1_500_000
TIMES_TO_REACH = 5
_WHERE = TopicPartition(contracts.METRICS_TOPIC, 0)
_STEP_MS = 15_000
_TARGETS_PER_REQUEST = 10
_READY_S_MAX = 60.0
_STOP_S_MAX = 120.0


@dataclass(slots=True)
class _Phase:
    """What some rounds cost, in CPU seconds."""

    samples: int = 0
    router_s: float = 0.0
    server_s: float = 0.0

    def with_stop(self, stop_s: float, of_samples: int) -> float:
        """All of it, with this phase's share of what the server still did when it was stopped."""
        return self.router_s + self.server_s + stop_s * self.samples / of_samples


class _NoRegistry:
    def register(self, subject: str, schema: contracts.Schema) -> int:
        raise NotImplementedError

    def schema(self, schema_id: int) -> contracts.Schema:
        raise UnknownSchemaError(schema_id)

    def versions(self, subject: str) -> dict[int, int]:
        return {}


def run(folder: Path) -> list[Line]:
    """CPU of the router alone and of all processes; the ceiling of the router is reading the messages' columns alone."""
    of = targets(TARGETS, SERIES)
    steady_first = LEARN_ROUNDS + COLD_ROUNDS + WARMING_ROUNDS
    cold, steady, hasty, stop_s, total, size = _cassandra(steady_first)
    all_cold, all_steady, all_hasty = (p.samples / p.with_stop(stop_s, total) for p in (cold, steady, hasty))
    lines = [
        Line("metrics to Cassandra, router, a flush per 15 s", steady.samples / steady.router_s, "samples/core-s", _ceiling(),
             "decode alone", f"to reach: {RATE_TO_REACH:,}"),
        Line("metrics to Cassandra, router, catching up", hasty.samples / hasty.router_s, "samples/core-s"),
        Line("metrics to Cassandra, router and server, a flush per 15 s", all_steady, "samples/core-s"),
        Line("metrics to Cassandra, router and server, catching up", all_hasty, "samples/core-s"),
        Line("metrics to Cassandra, router and server, JVM just started", all_cold, "samples/core-s"),
        Line("metrics in Cassandra as L0, its folder", size / total, "bytes/sample"),
    ]  # fmt: skip
    program = _victoria_metrics()
    if program is None:
        Console(stderr=True).print(
            "VictoriaMetrics is missing and `apt-get download victoria-metrics` did not bring it"
        )
        return lines
    peer, peer_size = _peer(program, folder / "victoria-metrics", of, steady_first)
    times = f"router and Cassandra: {all_steady / peer:.1f} ×, catching up {all_hasty / peer:.1f} ×; to reach: {TIMES_TO_REACH} ×"
    name = f"VictoriaMetrics {program.parents[2].name.partition('_')[2]}"
    return [
        *lines,
        Line(f"{name}, by remote write", peer, "samples/core-s", note=times),
        Line(f"{name}, its folder", peer_size, "bytes/sample"),
    ]


def _cassandra(steady_first: int) -> tuple[_Phase, _Phase, _Phase, float, int, int]:
    """Phases cold, steady and catching up; CPU of stopping; samples in all; bytes of the server's data folder."""
    before = _children_s()
    node = start_cassandra(quick_start=False, heap="512m")
    try:
        blocks = CassandraBlocks(node.settings())
        sink = SampleSink(blocks, WriterSchemas(_NoRegistry()), "bench")
        process = psutil.Process(node.server.process.pid)
        offsets = _Offsets()
        learnt = _write(sink, process, offsets.cuts(0, LEARN_ROUNDS, 1))
        cold = _write(sink, process, offsets.cuts(LEARN_ROUNDS, COLD_ROUNDS, 1))
        rounds = [_round(LEARN_ROUNDS + COLD_ROUNDS + n) for n in range(WARMING_ROUNDS)]
        warming = _write(sink, process, offsets.cut_up(enumerate(rounds * WARMING_TURNS), 1))
        rounds.clear()
        steady = _write(sink, process, offsets.cuts(steady_first, ROUNDS, 1))
        hasty = _write(sink, process, offsets.cuts(steady_first + ROUNDS, ROUNDS, sink.limits.bytes_max))
        blocks.close()
        so_far = _cpu_s(process)
        _stop(node.server.process)
        size = _size(node.server.log.parent / "data" / "data")
    finally:
        node.server.kill()
    total = sum(phase.samples for phase in (learnt, cold, warming, steady, hasty))
    return cold, steady, hasty, _children_s() - before - so_far, total, size


class _Offsets:
    """Cuts of one partition: each begins where the one before ended."""

    def __init__(self) -> None:
        self._next = 0

    def cuts(self, first_round: int, rounds: int, bytes_min: int) -> Iterator[Cut]:
        """Of these rounds."""
        return self.cut_up(((n, _round(n)) for n in range(first_round, first_round + rounds)), bytes_min)

    def cut_up(self, rounds: Iterable[tuple[int, Sequence[Message]]], bytes_min: int) -> Iterator[Cut]:
        """Whole rounds, as many in a cut as it takes to reach some bytes."""
        records: list[Record] = []
        first, size = self._next, 0
        for n, messages in rounds:
            for message in messages:
                append_ms = START_NS // 1_000_000 + n * _STEP_MS
                records.append(Record(message.topic, 0, self._next, append_ms, message.headers, message.body))
                size += records[-1].size_bytes
                self._next += 1
            if size >= bytes_min:
                yield Cut((Range(_WHERE, "bench", first, self._next),), records, {})
                records, first, size = [], self._next, 0
        if records:
            yield Cut((Range(_WHERE, "bench", first, self._next),), records, {})


T = TypeVar("T")
_OF = targets(TARGETS, SERIES)


def _round(number: int) -> list[Message]:
    (messages,) = scrapes(4, _OF, 1, number)
    return messages


def _write(sink: SampleSink, process: psutil.Process, cuts: Iterable[Cut]) -> _Phase:
    phase = _Phase()
    # Made before, so that what the server does while it waits for the load is not counted.
    ready = list(cuts)
    before = _cpu_s(process)
    for cut in ready:
        with Spent() as spent:
            phase.samples += sink.write(cut).items
        phase.router_s += spent.cpu_s
    phase.server_s = _cpu_s(process) - before
    return phase


def _ceiling() -> float:
    reader = MetricMessages()
    schema = contracts.schema("metric_batch")
    load = [message for n in range(10) for message in _round(n)]
    for message in load[:TARGETS]:
        reader.read(message.body, schema)
    with Spent() as spent:
        for message in load:
            reader.read(message.body, schema)
    return len(load) * SERIES / spent.cpu_s


def _peer(program: Path, folder: Path, of: Sequence[tuple[object, Layout]], steady_first: int) -> tuple[float, float]:
    """Samples per core-second and bytes per sample of the same steady rounds, once the series are known."""
    (port,) = free_ports(1)
    before = _children_s()
    command = [str(program), f"-storageDataPath={folder}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=5y"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_ready(port)
        bodies = [_RemoteWrite([layout for _, layout in some]) for some in _some(of)]
        for n in range(steady_first - LEARN_ROUNDS, steady_first):
            _send(port, bodies, n)
        process = psutil.Process(server.pid)
        known_s = _cpu_s(process)
        for n in range(steady_first, steady_first + ROUNDS):
            _send(port, bodies, n)
        _get(port, "/internal/force_flush")
        _stop(server)
    finally:
        server.kill()
        server.wait(30)
    spent_s = _children_s() - before - known_s
    samples = TARGETS * SERIES * ROUNDS
    stored = samples + TARGETS * SERIES * LEARN_ROUNDS
    return samples / spent_s, _size(folder / "data") / stored


class _RemoteWrite:
    """A remote write request of some targets, of which only values and time change."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        stamp = _varint(START_NS // 1_000_000)
        sample = b"\x09" + bytes(8) + b"\x10" + stamp
        pieces: list[bytes] = []
        values_at: list[int] = []
        at = 0
        for layout in layouts:
            for series in layout.series:
                pairs = sorted((("__name__", series.name), *series.labels))
                labels = b"".join(_field(1, _field(1, n.encode()) + _field(2, v.encode())) for n, v in pairs)
                whole = _field(1, labels + _field(2, sample))
                pieces.append(whole)
                at += len(whole)
                values_at.append(at - len(sample) + 1)
        self._body: npt.NDArray[np.uint8] = np.frombuffer(b"".join(pieces), np.uint8).copy()
        self._values_at = np.array(values_at)[:, None] + np.arange(8)
        self._stamps_at = np.array(values_at)[:, None] + 9 + np.arange(len(stamp))

    def body(self, values: npt.NDArray[np.float64], timestamp_ms: int) -> bytes:
        """Compressed, as it is sent."""
        self._body[self._values_at] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
        self._body[self._stamps_at] = np.frombuffer(_varint(timestamp_ms), np.uint8)
        return bytes(cramjam.snappy.compress_raw(self._body.tobytes()))


def _send(port: int, requests: Sequence[_RemoteWrite], number: int) -> None:
    """One round of every target: the same messages as ours, decoded."""
    reader, schema = MetricMessages(), contracts.schema("metric_batch")
    decoded = [reader.read(message.body, schema) for message in _round(number)]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for request, some in zip(requests, _some(decoded), strict=True):
        body = request.body(np.concatenate([m.values for m in some]), some[0].timestamp_ms)
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        connection.request("POST", "/api/v1/write", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 204:
            raise RuntimeError(f"VictoriaMetrics answered {answer.status}")
    connection.close()


def _some(all_: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(all_), _TARGETS_PER_REQUEST):
        yield all_[at : at + _TARGETS_PER_REQUEST]


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _until_ready(port: int) -> None:
    deadline = time.monotonic() + _READY_S_MAX
    while True:
        try:
            return _get(port, "/health")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _get(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


def _victoria_metrics() -> Path | None:
    """From Debian's package, kept in the cache folder under its version; None when it cannot be had."""
    kept = sorted(cache_folder().glob("victoria-metrics_*/usr/bin/victoria-metrics"))
    if kept:
        return kept[-1]
    half = cache_folder() / "victoria-metrics.half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        subprocess.run(
            ["apt-get", "download", "victoria-metrics"], cwd=half, check=True, capture_output=True, timeout=300
        )
        (package,) = half.glob("*.deb")
        subprocess.run(["dpkg", "-x", package, half], check=True, capture_output=True, timeout=60)
        # victoria-metrics_<version>_<architecture>.deb
        home = half.rename(cache_folder() / package.name.rpartition("_")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        shutil.rmtree(half, ignore_errors=True)
        return None
    return home / "usr" / "bin" / "victoria-metrics"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM: what is in memory goes to disk."""
    process.terminate()
    process.wait(_STOP_S_MAX)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _children_s() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Alone: python -m bench.cassandra."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder:
        for line in run(Path(folder)):
            print(f"{line.name:60} {line.value:14,.2f} {line.unit}  {line.note}")


if __name__ == "__main__":
    main()
