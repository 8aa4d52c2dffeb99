"""The flow: what bus and routers say, put together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter

from bus.sqlite import SqliteBus
from heliograph import contracts
from heliograph.message import Message
from ops.agent_config import Status, StatusCollector, notes, role_pids, unready
from ops.data_dir import prepare, write_json
from ops.flow_snapshot import KEPT_S, FlowSnapshot
from ops.health import Health, HealthServer


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SqliteBus]:
    prepare(tmp_path)
    bus = SqliteBus(tmp_path / "bus" / "bus.db")
    bus.create_topics({topic.name: topic.partitions for topic in contracts.topics().values()})
    yield bus
    bus.close()


@pytest.fixture
def router(tmp_path: Path, bus: SqliteBus) -> Iterator[Health]:
    health = Health()
    items = Counter("heliograph_router_items", "Items.", ("store",), registry=health.registry)
    items.labels("search").inc(42)
    server = HealthServer(health, "the-token")
    write_json(tmp_path / "run" / "router-search.json", {"pid": 1, "health": server.url})
    yield health
    server.close()


def test_ends_lags_and_items_are_told(bus: SqliteBus, router: Health, tmp_path: Path) -> None:
    clock = Clock()
    flow = FlowSnapshot(bus, tmp_path, "the-token", clock)
    bus.produce([Message(contracts.LOGS_TOPIC, partition, (), b"x") for partition in (0, 1, 1)])
    first = flow.now()
    assert first.topics[contracts.LOGS_TOPIC] == 3
    assert (first.stores["search"].lag, first.stores["archive"].lag, first.stores["tsdb"].lag) == (3, 3, 0)
    assert (first.stores["search"].items, first.stores["search"].ready) == (42, False)
    router.set_ready({})
    assert flow.now() is first
    clock.now_s += KEPT_S
    assert flow.now().stores["search"].ready


def test_a_router_that_is_away_is_not_ready(bus: SqliteBus, tmp_path: Path) -> None:
    store = FlowSnapshot(bus, tmp_path, "t", Clock()).now().stores["search"]
    assert (store.items, store.ready) == (0, False)


def test_the_agent_is_ready_once_it_listens_and_the_bus_takes(tmp_path: Path) -> None:
    well: Status = {"outbox": {"is_failing": 0}, "receiver": {"last_error": ""}}
    assert unready(well, is_listening=True) == {}
    assert unready(well, is_listening=False) == {"receiver": "does not listen yet"}
    assert unready({"receiver": {"last_error": "port in use"}}, is_listening=False) == {"receiver": "port in use"}
    assert "bus" in unready({"outbox": {"is_failing": 1}}, is_listening=True)["outbox"]


def test_a_spooling_agent_is_ready_and_says_so() -> None:
    status: Status = {"spool": {"note": "the bus is away", "spool_bytes": 3}, "receiver": {"lines": 1}}
    assert (unready(status, is_listening=True), notes(status)) == ({}, {"spool": "the bus is away"})
    assert notes({"spool": {"note": ""}}) == {}


def test_a_total_becomes_a_counter() -> None:
    [family] = StatusCollector(lambda: {"spool": {"spool_torn_bytes_total": 3}}).collect()
    assert family.type == "counter"
    assert [sample.name for sample in family.samples] == ["heliograph_agent_spool_torn_bytes_total"]


def test_the_agents_numbers_become_metrics() -> None:
    [family] = StatusCollector(lambda: {"a": {"lines": 3, "last_error": "x"}, "b": {"lines": 4}}).collect()
    assert {(s.name, s.labels["source"], s.value) for s in family.samples} == {
        ("heliograph_agent_lines", "a", 3),
        ("heliograph_agent_lines", "b", 4),
    }


def test_pids_of_roles_that_run_are_known(tmp_path: Path) -> None:
    assert role_pids(tmp_path) == {}
    write_json(tmp_path / "endpoints.json", {"roles": {"agent": {"pid": 7}, "query": {"pid": None}}})
    assert role_pids(tmp_path) == {"agent": 7}
