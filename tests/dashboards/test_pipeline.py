"""Every query of the dashboard has an answer over what the host's source really reads."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bus.port import Record, TopicPartition
from collectors.drops import Drops
from collectors.host import HostSource
from collectors.outbox import Outbox
from dashboards.content import pipeline
from heliograph import contracts
from heliograph.identity import ProducerIdentity
from query.promql.engine import Engine
from sinks.port import Cut, Range
from sinks.samples import SampleSink
from tests.collectors.fake_bus import FakeBus
from tests.tsdb.metric_log import NOW_MS, writer_schemas
from tsdb.reader import TsdbReader
from tsdb.sqlite import SqliteBlocks

SCRAPE_MS = 15_000
BOARD: dict[str, Any] = pipeline()
QUERIES = [t["expr"] for p in BOARD["panels"] for t in p["targets"]]


def scraped() -> list[Record]:
    """What two scrapes of this host and this process put on the bus, 15 s apart by the passed-in clock."""
    bus, identity, stop, ticks = FakeBus(), ProducerIdentity(), threading.Event(), count()
    outbox = Outbox(bus, linger_s=0.0, bytes_max=1 << 26)

    def time_ns() -> int:
        tick = next(ticks)
        if tick == 1:
            stop.set()
        return (NOW_MS - SCRAPE_MS * (1 - tick)) * 1_000_000

    source = HostSource(
        outbox, Drops(outbox, identity.mint, time_ns), identity.mint, hostname="h1", interval_s=0.0,
        pids=lambda: {"agent": os.getpid()}, time_ns=time_ns,
    )  # fmt: skip
    source.run(stop, lambda: None)
    outbox.close(10.0)
    sent = bus.of(contracts.METRICS_TOPIC)
    assert len(sent) == 4
    return [Record(m.topic, 0, i, NOW_MS, m.headers, m.body) for i, m in enumerate(sent)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    root: Path = tmp_path_factory.mktemp("tsdb")
    blocks = SqliteBlocks(root)
    records = scraped()
    where = TopicPartition(contracts.METRICS_TOPIC, 0)
    sink = SampleSink(blocks, writer_schemas(), "w")
    assert not sink.write(Cut((Range(where, "log-1", 0, len(records)),), records, {})).faults
    yield Engine(TsdbReader(blocks))
    sink.close()
    blocks.close()


def substituted(query: str) -> str:
    """As Grafana does for an interval of 15 s, and All of each variable."""
    return re.sub(r"\$(?:role|instance)\b", ".*", query.replace("$__rate_interval", "60s"))


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_has_an_answer(engine: Engine, query: str) -> None:
    text = substituted(query)
    assert "$" not in text
    assert len(engine.instant("default", text, NOW_MS).labels) > 0


def test_every_variable_is_of_series_that_exist(engine: Engine) -> None:
    queries = [v["query"]["query"] for v in BOARD["templating"]["list"] if v["type"] == "query"]
    assert len(queries) == 2
    for query in queries:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert found is not None
        answer = engine.instant("default", substituted(found[1]), NOW_MS)
        assert all(found[2] in dict(labels) for labels in answer.labels)
        assert len(answer.labels) > 0


def test_it_is_classic_json_with_data_source_variables() -> None:
    assert (BOARD["uid"], BOARD["schemaVersion"]) == ("heliograph-pipeline", 41)
    assert {p["datasource"]["uid"] for p in BOARD["panels"]} == {"${datasource}"}
