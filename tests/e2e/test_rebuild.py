"""Any store's folder may be removed while everything is stopped: it is filled again from the bus."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from archive.local import LocalObjects
from archive.reader import Selection, read_archive
from heliograph import contracts
from search.tantivy_reader import TantivyReader
from tests.e2e import inputs
from tests.e2e.running import READERS, Ends, bus_of, ends, is_read, running, send, total
from tests.oracle.platform_under_test import Platform, wait_for
from tsdb.reader import TsdbReader
from tsdb.samples import Match, Matcher
from tsdb.sqlite import SqliteBlocks

FAR = 2**62
SETTLE_S = 60.0
BATCHES = 12
Contents = Mapping[object, object]


def in_search(root: Path) -> Contents:
    reader = TantivyReader(root)
    return {d.id: d.source["body"] for d in reader.documents("default", "logs", 0, FAR)}


def in_archive(root: Path) -> Contents:
    topics = (contracts.LOGS_TOPIC, contracts.METRICS_TOPIC)
    archived = [a.record for topic in topics for a in read_archive(LocalObjects(root), Selection(topic))]
    return {(record.where, record.offset): record.body for record in archived}


def in_tsdb(root: Path) -> Contents:
    columns = TsdbReader(SqliteBlocks(root)).select("default", [Matcher("job", Match.NOT_EQUAL, "")], 0, FAR // 10**6)
    found: dict[object, object] = {}
    for i, labels in enumerate(columns.labels):
        j = columns.timeline[i]
        stamps = columns.stamps[columns.stamp_offsets[j] : columns.stamp_offsets[j + 1]].tolist()
        values = columns.values[columns.offsets[i] : columns.offsets[i + 1]].view("<u8").tolist()
        found |= {(labels, at): value for at, value in zip(stamps, values, strict=True)}
    return found


STORES: Mapping[str, Callable[[Path], Contents]] = {"search": in_search, "archive": in_archive, "tsdb": in_tsdb}


def run_until_read(platform: Platform, until: Ends) -> None:
    with bus_of(platform.data_dir) as bus, running(platform):
        wait_for("all is read", lambda: all(is_read(bus, group, until) for group in READERS), SETTLE_S)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A platform that has stored something in each store, stopped."""
    platform = Platform(tmp_path_factory.mktemp("rebuild") / "data")
    with bus_of(platform.data_dir) as bus:
        for n in range(BATCHES):
            bus.produce([inputs.logs("kept", [f"kept {n} {i}" for i in range(20)])])
            bus.produce([inputs.samples("kept", {f"{i:02d}": float(n * i) for i in range(20)}, 0)])
        until = ends(bus)
    run_until_read(platform, until)
    return platform


def test_removed_folders_are_filled_again(stopped: Platform) -> None:
    before = {name: read(stopped.data_dir / name) for name, read in STORES.items()}
    for store in STORES:
        assert len(before[store]) >= BATCHES
        shutil.rmtree(stopped.data_dir / store)
    with running(stopped):
        assert send(stopped, inputs.logs("later", ["sent after the removal"]))[0] == 200
        wait_for("a later record", lambda: total(stopped, service="later") == 1, SETTLE_S)
        for store, read in STORES.items():
            folder, count = stopped.data_dir / store, len(before[store])
            wait_for(f"as much in {store}", lambda: len(read(folder)) >= count, SETTLE_S)  # noqa: B023
    for name, read in STORES.items():
        after = read(stopped.data_dir / name)
        assert {key: after.get(key) for key in before[name]} == before[name], name
