"""Two nodes, and then one: writes wait, reads go on with a warning."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.contracts.block_store_suite import DAY, SET, WINDOW, entry, flush, manifest, row, source
from tests.servers.cassandra import Node, start_cluster
from tests.servers.maven import require_java
from tsdb.cassandra import CassandraBlocks
from tsdb.errors import StoreUnavailableError


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Node, ...]]:
    require_java(17)
    made = start_cluster(2)
    yield made
    for node in made:
        node.server.kill()


@pytest.mark.slow
def test_with_one_of_two_nodes_dead_writes_wait_and_reads_warn_once(
    nodes: tuple[Node, ...], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = nodes
    with closing(CassandraBlocks(first.settings(replication_factor=2))) as blocks:
        _outlive(second, blocks, caplog)


def _outlive(second: Node, blocks: CassandraBlocks, caplog: pytest.LogCaptureFixture) -> None:
    blocks.check()
    assert blocks.claim("default", DAY, [entry("cpu")]) == {"cpu": entry("cpu")}
    blocks.write(flush(row()))
    assert blocks.merge(manifest(1, "v1"), {"v1": b"merged"}, [SET])
    second.server.kill()
    for refused in (
        lambda: blocks.write(flush(row(), of=source(10, 20))),
        lambda: blocks.claim("default", DAY, [entry("mem")]),
    ):
        with pytest.raises(StoreUnavailableError):
            refused()
    with caplog.at_level(logging.INFO, "tsdb"):
        for _ in range(3):
            assert source() in [found.source for found in blocks.rows("default", DAY, ["s/0"], WINDOW, WINDOW)]
            assert blocks.series_set(DAY, SET.hash) == SET.blob
            assert list(blocks.catalog("default", DAY, None)) == [entry("cpu")]
            assert blocks.merged("default", DAY, ["v1"]) == {"v1": b"merged"}
    assert [record.levelname for record in caplog.records if "one replica" in record.message] == ["WARNING"]
    second.server.start()
    _until_taken(lambda: blocks.write(flush(row(), of=source(10, 20))))
    found = blocks.rows("default", DAY, ["s/0"], WINDOW, WINDOW)
    assert {stored.source for stored in found} == {source(), source(10, 20)}
    _until_taken(lambda: blocks.claim("default", DAY, [entry("mem")]))
    assert blocks.claim("default", DAY, [entry("mem")]) == {"mem": entry("mem")}


def _until_taken(write: Callable[[], object]) -> None:
    """As a router does: the same again until it is taken. Nodes lose each other once more while they find each other."""
    deadline = time.monotonic() + 90
    while True:
        try:
            write()
            return
        except StoreUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
