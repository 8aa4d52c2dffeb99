"""Samples into the time-series store, bus excluded: from encoded messages to durable SQLite rows, and back into columns."""

from __future__ import annotations

import tempfile
import time
from array import array
from pathlib import Path

import numpy as np

from bus.port import Record, TopicPartition
from bus.registry import UnknownSchemaError
from heliograph import contracts
from heliograph.identity import ProducerIdentity
from heliograph.metrics import Layout, Series, seal_metrics
from heliograph.records import Source
from sinks.decode import WriterSchemas
from sinks.port import Cut, Range
from sinks.samples import SampleSink
from tsdb.reader import TsdbReader
from tsdb.samples import Match, Matcher
from tsdb.sqlite import SqliteBlocks

_T0_MS = 20_800 * 86_400_000
_STEP_MS = 15_000
_WHERE = TopicPartition(contracts.METRICS_TOPIC, 0)
_FLUSHES = 40


class _NoRegistry:
    def register(self, subject: str, schema: contracts.Schema) -> int:
        raise NotImplementedError

    def schema(self, schema_id: int) -> contracts.Schema:
        raise UnknownSchemaError(schema_id)

    def versions(self, subject: str) -> dict[int, int]:
        return {}


def run() -> list[tuple[str, float, str]]:
    """(name, value, unit) of each figure, over 200 targets of 500 series: 50 metrics of 2,000 series each."""
    lines: list[tuple[str, float, str]] = []
    for name, absent in (("every target in every flush", 0.0), ("one target in twenty absent", 0.05)):
        with tempfile.TemporaryDirectory() as folder:
            lines += _measure(name, Path(folder), _cuts(absent))
    return lines


def _measure(name: str, folder: Path, cuts: list[Cut]) -> list[tuple[str, float, str]]:
    blocks = SqliteBlocks(folder)
    sink = SampleSink(blocks, WriterSchemas(_NoRegistry()), "bench")
    start = time.process_time()
    learnt = sink.write(cuts[0]).items
    middle = time.process_time()
    steady = sum(sink.write(cut).items for cut in cuts[1:])
    end = time.process_time()
    reader = TsdbReader(blocks)
    matchers = [Matcher("__name__", Match.EQUAL, "metric_003")]
    best = min(_select_s(reader, matchers) for _ in range(5))
    blocks.close()
    stored = sum(path.stat().st_size for path in folder.glob("*.db"))
    return [
        (f"metrics to SQLite rows, {name}", steady / (end - middle), "samples/core-s"),
        (f"metrics to SQLite rows, {name}: first flush, series learnt", learnt / (middle - start), "series/core-s"),
        (f"metrics on disk as L0, {name}", stored / (learnt + steady), "bytes/sample"),
        (f"2,000 series × {len(cuts)} samples to columns, {name}", best * 1000, "ms"),
    ]


def _select_s(reader: TsdbReader, matchers: list[Matcher]) -> float:
    start = time.perf_counter()
    reader.select("default", matchers, _T0_MS, _T0_MS + _FLUSHES * _STEP_MS)
    return time.perf_counter() - start


def _cuts(absent: float) -> list[Cut]:
    rng = np.random.default_rng(1)
    mint = ProducerIdentity().mint
    layouts = [
        Layout.of([
            Series(f"metric_{m:03d}", (("instance", f"i{t}"), ("job", "bench"), ("path", f"/p{k}")), "counter")
            for m in range(50)
            for k in range(10)
        ])
        for t in range(200)
    ]  # fmt: skip
    counters = rng.integers(0, 1000, (200, 500)).astype(np.float64)
    cuts: list[Cut] = []
    offset = 0
    for flush in range(_FLUSHES):
        counters += rng.poisson(5, counters.shape)
        records: list[Record] = []
        first, stamp = offset, _T0_MS + flush * _STEP_MS
        for target in np.flatnonzero(rng.random(200) >= (absent if flush else 0.0)).tolist():
            source = Source({"service.name": "bench", "service.instance.id": f"i{target}", "host.name": f"h{target}"})
            values = array("d", counters[target].tobytes())
            message = seal_metrics(source, layouts[target], stamp + target, values, mint)
            records.append(Record(message.topic, 0, offset, stamp, message.headers, message.body))
            offset += 1
        cuts.append(Cut((Range(_WHERE, "bench", first, offset),), records, {}))
    return cuts


if __name__ == "__main__":
    for line in run():
        print("{:90} {:14,.2f} {}".format(*line))
