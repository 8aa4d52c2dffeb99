"""Requests, over a driver's session that is none: what is asked again, and what goes together. Needs no server."""

from __future__ import annotations

import logging
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import pytest
from cassandra import ReadTimeout, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.cqltypes import BytesType, Int32Type, UTF8Type
from cassandra.query import BatchStatement, BatchType, PreparedStatement

from tsdb.cassandra_connect import ONE, QUORUM, SERIAL
from tsdb.cassandra_session import CassandraSession, Row, _Connected
from tsdb.cassandra_settings import CassandraSettings
from tsdb.cassandra_spreads import slots_for
from tsdb.errors import StoreUnavailableError

_Column = namedtuple("_Column", "keyspace_name table_name name type")
_COLUMNS = [_Column("k", "t", name, type_) for name, type_ in (("a", UTF8Type), ("b", Int32Type), ("data", BytesType))]
TIMED_OUT = ReadTimeout("0 of 1", received_responses=0, required_responses=1)
TOO_FEW = Unavailable("1 of 2", alive_replicas=1, required_replicas=2)
ROWS: list[Row] = [("row",)]
INSERT = "INSERT INTO t (a, b, data) VALUES (?, ?, ?)"


class Future:
    """Of the driver."""

    def __init__(self, answer: list[Row] | Exception) -> None:
        self._answer = answer

    def result(self) -> list[Row]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Driver:
    """A session of the driver's: answers in order, the last one for ever; notes who was asked, and what."""

    def __init__(self, *answers: list[Row] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[object] = []
        self.sent: list[Any] = []

    def prepare(self, cql: str) -> PreparedStatement:
        """The partition key is a and b."""
        return PreparedStatement(_COLUMNS, b"id", [0, 1], cql, "k", 4, None, None)

    def execute_async(self, statement: Any, _: Row = (), execution_profile: object = QUORUM) -> Future:
        self.sent.append(statement)
        self.asked.append(execution_profile)
        return Future(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])

    def execute(self, statement: Any, values: Row, execution_profile: object) -> list[Row]:
        return self.execute_async(statement, values, execution_profile).result()


def session(driver: Driver, **settings: Any) -> CassandraSession:
    """At the same moment for ever."""
    made = CassandraSession(CassandraSettings(("nowhere",), datacenter="dc", **settings), lambda: 0.0)
    made._held = _Connected(None, driver, 1 << 20)
    return made


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_read_at_one_is_asked_again_until_a_replica_answers(failures: int) -> None:
    driver = Driver(*[TIMED_OUT] * failures, ROWS)
    assert session(driver).read_one("SELECT", ("k",), "reading", ONE) == ROWS
    assert driver.asked == [ONE] * (failures + 1)


@pytest.mark.parametrize("refusal", [TIMED_OUT, TOO_FEW, NoHostAvailable("none", {"a": TOO_FEW, "b": OSError("away")})])
def test_a_quorum_that_is_not_to_be_had_is_done_without(refusal: Exception) -> None:
    driver = Driver(refusal, ROWS)
    assert session(driver).read_one("SELECT", ("k",), "reading") == ROWS
    assert driver.asked == [QUORUM, ONE]


def test_nodes_that_are_all_away_are_not_asked_for_less() -> None:
    driver = Driver(NoHostAvailable("none", {"a": OSError("away")}))
    with pytest.raises(StoreUnavailableError):
        session(driver).read_one("SELECT", ("k",), "reading")
    assert driver.asked == [QUORUM]


def test_a_read_at_one_is_given_up_after_three_times() -> None:
    driver = Driver(TIMED_OUT)
    with pytest.raises(StoreUnavailableError, match="0 of the 1 replicas"):
        session(driver).read_one("SELECT", ("k",), "reading", ONE)
    assert driver.asked == [ONE] * 3


def test_without_a_quorum_one_replica_is_asked_as_often_and_then_at_once(caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver(TOO_FEW, TIMED_OUT, TIMED_OUT, ROWS, TIMED_OUT, ROWS)
    held = session(driver)
    assert held.read_one("SELECT", ("k",), "reading") == ROWS
    assert held.read_one("SELECT", ("k",), "reading") == ROWS
    assert driver.asked == [QUORUM, ONE, ONE, ONE, ONE, ONE]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_with_neither_a_quorum_nor_one_replica_the_store_is_unavailable() -> None:
    driver = Driver(TOO_FEW, TIMED_OUT)
    with pytest.raises(StoreUnavailableError):
        session(driver).read_one("SELECT", ("k",), "reading")
    assert driver.asked == [QUORUM, ONE, ONE, ONE]


def test_a_read_at_serial_is_never_done_with_less() -> None:
    driver = Driver(TIMED_OUT)
    with pytest.raises(StoreUnavailableError):
        session(driver).read_one("SELECT", ("k",), "reading", SERIAL)
    assert driver.asked == [SERIAL]


def _row(partition: int, size_bytes: int = 100, data: bytes = b"") -> tuple[Row, int]:
    return ("k", partition, data), size_bytes


def _rows_of(sent: Sequence[Any]) -> list[int]:
    """How many rows each request has."""
    return [len(request) if isinstance(request, BatchStatement) else 1 for request in sent]


def test_rows_of_one_partition_go_together_and_may_be_sent_again() -> None:
    driver = Driver([])
    session(driver).write(INSERT, [_row(1, data=b"x"), _row(1, data=b"y"), _row(2), _row(3), _row(3)], "writing")
    assert _rows_of(driver.sent) == [2, 1, 2]
    batch, single, _ = driver.sent
    assert (batch.batch_type, batch.keyspace) == (BatchType.UNLOGGED, "k")
    assert batch.routing_key == driver.prepare(INSERT).bind(("k", 1, b"")).routing_key
    assert [parameters[2] for _, _, parameters in batch._statements_and_parameters] == [b"x", b"y"]
    assert all(request.is_idempotent for request in (batch, single))


@pytest.mark.parametrize(
    ("sizes", "in_flight_bytes_max", "together"),
    [
        ([100] * 130, 1 << 20, [64, 64, 2]),
        ([50_000] * 5, 1 << 20, [2, 2, 1]),
        ([100, 5_000_000, 100, 100], 1 << 24, [1, 1, 2]),
        ([5_000] * 5, 12_000, [2, 2, 1]),
        ([100] * 3, 1, [1, 1, 1]),
    ],
)
def test_what_goes_together_is_bounded_in_rows_and_bytes(
    sizes: list[int], in_flight_bytes_max: int, together: list[int]
) -> None:
    driver = Driver([])
    rows = [_row(1, size_bytes) for size_bytes in sizes]
    session(driver, in_flight_bytes_max=in_flight_bytes_max).write(INSERT, rows, "writing")
    assert _rows_of(driver.sent) == together


def test_a_write_of_nothing_sends_nothing() -> None:
    driver = Driver([])
    session(driver).write(INSERT, [], "writing")
    assert driver.sent == []


@pytest.mark.parametrize(
    ("rows", "bytes_", "slots"),
    [
        (0, 0, 1),
        (32, 1 << 20, 1),
        (33, 0, 4),
        (1, (1 << 20) + 1, 4),
        (128, 0, 4),
        (129, 0, 16),
        (3000, 0, 256),
        (1 << 30, 1 << 40, 4096),
    ],
)
def test_a_flush_is_spread_by_its_rows_and_its_bytes(rows: int, bytes_: int, slots: int) -> None:
    assert slots_for(rows, bytes_) == slots
