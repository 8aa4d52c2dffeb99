"""An agent with a spool takes data while the bus is away, and accounts for what it had to drop."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from collectors.agent import Agent, AgentConfig, SpoolConfig
from collectors.drops import Drops
from collectors.file_follow import FollowConfig
from collectors.outbox import Outbox
from heliograph import contracts
from heliograph.agent_transport import AgentTransport
from heliograph.errors import UnavailableError
from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.records import decode_batch
from ops.agent_config import notes, unready
from tests.client.batches import attempts, sequences
from tests.collectors.batches import log_batch
from tests.collectors.fake_bus import FakeBus, FakeRegistry, log_bodies
from tests.collectors.waiting import wait_for


class Running:
    """An agent with a spool, in a thread; without host metrics, so that a test knows what is sent."""

    def __init__(self, folder: Path, bus: FakeBus, bytes_max: int) -> None:
        (folder / "logs").mkdir(exist_ok=True)
        self.port = 0
        self.stop = threading.Event()
        config = AgentConfig(
            state_dir=folder / "agent", hostname="h1", host_interval_s=0, otlp_port=0,
            follow=(FollowConfig(str(folder / "logs" / "*.log")),), spool=SpoolConfig(folder / "spool", bytes_max),
        )  # fmt: skip
        self.agent = Agent(config, bus, FakeRegistry())
        self.thread = threading.Thread(target=self.agent.run, args=(self.stop, lambda: None, self.ready))
        self.thread.start()
        assert wait_for(lambda: self.port > 0)

    def ready(self, port: int) -> None:
        self.port = port

    def send(self, *messages: Message) -> None:
        transport = AgentTransport(f"http://127.0.0.1:{self.port}")
        try:
            transport.send(messages, 20.0)
        finally:
            transport.close()

    def otlp(self, body: str) -> int:
        record = {"body": {"stringValue": body}}
        document = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
        return httpx.post(f"http://127.0.0.1:{self.port}/v1/logs", json=document, timeout=20).status_code

    def of_spool(self, name: str) -> int | float | str:
        return self.agent.status()["spool"][name]

    def is_drained(self) -> bool:
        return self.of_spool("spool_bytes") == 0


@contextmanager
def running(folder: Path, bus: FakeBus, bytes_max: int = 1 << 20) -> Iterator[Running]:
    agent = Running(folder, bus, bytes_max)
    try:
        yield agent
    finally:
        agent.stop.set()
        agent.thread.join(20)
        assert not agent.thread.is_alive()


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


def fact_of(message: Message) -> dict[str, Any]:
    """A ledger fact, decoded."""
    return decode_batch(message.body, contracts.schema("ledger_fact"))


def test_with_the_bus_away_everybody_gets_200_and_all_is_delivered_afterwards(tmp_path: Path, bus: FakeBus) -> None:
    with running(tmp_path, bus) as agent:
        bus.down = True
        (tmp_path / "logs" / "a.log").write_text("from a file\n")
        agent.send(log_batch("from the client"))
        assert agent.otlp("from OTLP") == 200
        assert wait_for(lambda: agent.agent.status()["files"]["batches"] == 1)
        status = agent.agent.status()
        assert unready(status, is_listening=True) == {}
        assert "away" in notes(status)["spool"]
        assert status["spool"]["spool_batches"] == 3
        assert agent.otlp("from OTLP") == 200
        assert agent.agent.status()["receiver"]["duplicates"] == 1
        bus.down = False
        assert wait_for(agent.is_drained)
        assert Counter(log_bodies(bus.of(contracts.LOGS_TOPIC))) == Counter(
            ("from a file", "from the client", "from OTLP")
        )
        assert all(attempt > 0 for attempt in attempts(bus.of(contracts.LOGS_TOPIC)))
        assert notes(agent.agent.status()) == {}


def test_what_the_bus_had_not_taken_at_the_end_is_delivered_by_the_next_agent(tmp_path: Path, bus: FakeBus) -> None:
    with running(tmp_path, bus) as agent:
        bus.down = True
        agent.send(log_batch("kept"))
        (tmp_path / "logs" / "a.log").write_text("kept too\n")
        assert wait_for(lambda: agent.agent.status()["files"]["lines"] == 1)
    assert not bus.log
    bus.down = False
    with running(tmp_path, bus) as agent:
        assert wait_for(lambda: {"kept", "kept too"} <= set(log_bodies(bus.of(contracts.LOGS_TOPIC))))
        assert wait_for(agent.is_drained)
    assert len(bus.of(contracts.LOGS_TOPIC)) == 2


def test_over_the_limit_each_batch_is_delivered_or_named_by_a_fact(tmp_path: Path, bus: FakeBus) -> None:
    batches = [log_batch(f"{i} " + "x" * 30_000) for i in range(20)]
    with running(tmp_path, bus, bytes_max=200_000) as agent:
        bus.down = True
        for batch in batches:
            agent.send(batch)
        dropped = agent.agent.status()["outbox"]["dropped_batches"]
        assert dropped
        bus.down = False
        assert wait_for(lambda: len(bus.of(contracts.LEDGER_TOPIC)) >= int(dropped))
        assert wait_for(agent.is_drained)
        assert agent.agent.status()["outbox"]["forgotten_facts"] == 0
    facts = [fact_of(message) for message in bus.of(contracts.LEDGER_TOPIC)]
    assert {(fact["outcome"], fact["reason"], fact["hop"]) for fact in facts} == {("dropped", "spool_full", "agent")}
    delivered = sequences(bus.of(contracts.LOGS_TOPIC))
    assert sorted(delivered + [fact["sequence"] for fact in facts]) == sorted(sequences(batches))


def test_with_a_spool_that_cannot_be_used_it_is_503_as_without(tmp_path: Path, bus: FakeBus) -> None:
    (tmp_path / "spool").write_text("in the way")
    with running(tmp_path, bus) as agent:
        agent.send(log_batch("a"))
        bus.down = True
        with pytest.raises(UnavailableError):
            agent.send(log_batch("b"))
        assert "outbox" in unready(agent.agent.status(), is_listening=True)
        assert "cannot be made" in notes(agent.agent.status())["spool"]
        bus.down = False


# Facts that the spool drops in their turn


@pytest.fixture
def drops(bus: FakeBus) -> Iterator[Drops]:
    outbox = Outbox(bus, linger_s=0.0)
    yield Drops(outbox, ProducerIdentity().mint, lambda: 60_000_000_000)
    outbox.close(0.5)


def facts_of(drops: Drops, bus: FakeBus) -> list[Message]:
    """What it hands over next."""
    count = drops.waiting
    drops.flush()
    assert wait_for(lambda: len(bus.of(contracts.LEDGER_TOPIC)) >= count)
    return bus.of(contracts.LEDGER_TOPIC)


def test_a_fact_that_the_spool_drops_goes_round_once_more(drops: Drops, bus: FakeBus) -> None:
    drops.note([log_batch("a")], "queue_full")
    (fact,) = facts_of(drops, bus)
    bus.log.clear()
    drops.gave_way([fact, log_batch("x" * 1000)], "spool_full")
    first, second = sorted(facts_of(drops, bus), key=lambda m: fact_of(m)["reason"])
    assert (first, fact_of(second)["reason"]) == (fact, "spool_full")
    assert (drops.dropped, drops.forgotten) == (2, 0)


def test_facts_alone_do_not_go_round_for_ever(drops: Drops, bus: FakeBus) -> None:
    drops.note([log_batch(str(i)) for i in range(1000)], "queue_full")
    facts = facts_of(drops, bus)
    rounds = 0
    while not drops.forgotten:
        drops.gave_way(facts, "spool_full")
        rounds += 1
        assert rounds < 100
    assert rounds > 2
    for _ in range(8):
        drops.gave_way([*facts, log_batch("x" * 800_000), log_batch("x" * 800_000)], "spool_full")
    assert drops.waiting > 1000


def test_a_batch_without_headers_is_counted_although_it_cannot_be_named(drops: Drops) -> None:
    drops.gave_way([Message(contracts.LOGS_TOPIC, 0, (), b"")], "spool_full")
    assert (drops.dropped, drops.waiting, drops.forgotten) == (1, 0, 1)
