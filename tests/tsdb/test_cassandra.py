"""The block store's contract on a real Cassandra node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.block_store_suite import BlockStoreSuite
from tests.servers.cassandra import cassandra
from tsdb.cassandra import CassandraBlocks


@pytest.fixture
def store() -> Iterator[CassandraBlocks]:
    blocks = CassandraBlocks(cassandra().settings())
    yield blocks
    blocks.close()


class TestCassandraBlocks(BlockStoreSuite):
    """The contract."""
