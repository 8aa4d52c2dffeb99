"""How many replicas are asked: what one replica lacks or has damaged is read again from a quorum before it is an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from tsdb.cassandra_cells import encode_merged, encode_set
from tsdb.cassandra_connect import ONE, QUORUM
from tsdb.cassandra_known import Known
from tsdb.cassandra_merged import Merged
from tsdb.cassandra_session import CassandraSession, Row
from tsdb.cassandra_sets import Sets
from tsdb.cassandra_settings import CassandraSettings
from tsdb.errors import CorruptBlockError


class Replicas(CassandraSession):
    """Answers by level, whatever the key; notes who was asked."""

    def __init__(self, one: list[Row], quorum: list[Row]) -> None:
        super().__init__(CassandraSettings(("nowhere",), datacenter="dc"))
        self._rows = {ONE: one, QUORUM: quorum}
        self.asked: list[object] = []

    def read(
        self, cql: str, keys: Iterable[Row], doing: str, level: object = QUORUM
    ) -> Iterator[tuple[Row, list[Row]]]:
        for key in keys:
            self.asked.append(level)
            yield key, self._rows[level]


BLOB = bytes(3_000_000)
WHOLE: list[Row] = list(enumerate(encode_set(BLOB)))
BLOCK: list[Row] = [(encode_merged(b"block"),)]
TORN: list[Row] = [(encode_merged(b"block")[:-1],)]


@pytest.mark.parametrize("one", [[], WHOLE[:2], WHOLE[1:], [*WHOLE[:2], (2, b"damaged")]])
def test_a_set_that_one_replica_lacks_comes_from_a_quorum(one: list[Row]) -> None:
    replicas = Replicas(one, WHOLE)
    assert Sets(replicas, "main", Known()).blob(1, b"h") == BLOB
    assert replicas.asked == [ONE, QUORUM]
    with pytest.raises(CorruptBlockError):
        Sets(Replicas(one, one), "main", Known()).blob(1, b"h")


def test_a_whole_set_is_asked_of_one_replica_only() -> None:
    replicas = Replicas(WHOLE, [])
    assert Sets(replicas, "main", Known()).blob(1, b"h") == BLOB
    assert replicas.asked == [ONE]


@pytest.mark.parametrize("one", [[], TORN])
def test_a_merged_row_that_one_replica_lacks_comes_from_a_quorum(one: list[Row]) -> None:
    replicas = Replicas(one, BLOCK)
    assert Merged(replicas, "main").blocks("t", 1, ["v"]) == {"v": b"block"}
    assert replicas.asked == [ONE, QUORUM]
    with pytest.raises(CorruptBlockError):
        Merged(Replicas(one, one), "main").blocks("t", 1, ["v"])


def test_a_whole_merged_row_is_asked_of_one_replica_only() -> None:
    replicas = Replicas(BLOCK, [])
    assert Merged(replicas, "main").blocks("t", 1, ["v"]) == {"v": b"block"}
    assert replicas.asked == [ONE]
