from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import pytest

from bus.embedded_registry import EmbeddedRegistry
from collectors.agent import Agent, AgentConfig
from collectors.errors import ReceiverError
from collectors.file_follow import FollowConfig
from collectors.runner import Runner
from heliograph import contracts
from heliograph.agent_transport import AgentTransport
from heliograph.errors import RefusedError, UnavailableError
from tests.collectors.batches import log_batch
from tests.collectors.fake_bus import FakeBus, FakeRegistry, log_bodies
from tests.collectors.waiting import wait_for


class Running:
    """An agent in a thread."""

    def __init__(self, folder: Path) -> None:
        (folder / "logs").mkdir(exist_ok=True)
        self.bus = FakeBus()
        self.port = 0
        self.beats = 0
        self.stop = threading.Event()
        config = AgentConfig(
            state_dir=folder / "agent",
            hostname="h1",
            otlp_port=0,
            follow=(FollowConfig(str(folder / "logs" / "*.log")),),
        )
        self.agent = Agent(config, self.bus, FakeRegistry())
        self.thread = threading.Thread(target=self.agent.run, args=(self.stop, self.beat, self.ready))
        self.thread.start()

    def beat(self) -> None:
        self.beats += 1

    def ready(self, port: int) -> None:
        self.port = port

    def url(self, path: str) -> str:
        assert wait_for(lambda: self.port > 0)
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> float:
        began = time.monotonic()
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic() - began


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.close()


def test_all_sources_reach_the_bus(running: Running, tmp_path: Path) -> None:
    (tmp_path / "logs" / "a.log").write_text("from a file\n")
    transport = AgentTransport(running.url(""))
    transport.send([log_batch("from the client")], 5.0)
    transport.close()
    record = {"body": {"stringValue": "from OTLP"}}
    answer = httpx.post(running.url("/v1/logs"), json={"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    assert answer.status_code == 200
    expected = {"from a file", "from the client", "from OTLP"}
    assert wait_for(lambda: expected <= set(log_bodies(running.bus.of(contracts.LOGS_TOPIC))))
    assert wait_for(lambda: len(running.bus.of(contracts.METRICS_TOPIC)) > 0)
    assert wait_for(lambda: running.beats > 1)
    assert running.agent.status()["files"]["lines"] == 1
    assert running.agent.status()["receiver"]["batches"] == 2


def test_the_client_is_told_what_to_do(running: Running) -> None:
    transport = AgentTransport(running.url(""))
    bad = replace(log_batch("a"), partition=99)
    with pytest.raises(RefusedError, match="message 0: "):
        transport.send([bad], 5.0)
    running.bus.down = True
    with pytest.raises(UnavailableError) as caught:
        transport.send([log_batch("a")], 20.0)
    assert caught.value.retry_after_s == 2
    transport.close()


def test_it_stops_in_time_although_the_bus_is_down_and_goes_on_later(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.url("/")
    running.bus.down = True
    (tmp_path / "logs" / "a.log").write_text("kept\n")
    assert wait_for(lambda: running.agent.status()["files"]["lines"] == 1)
    assert running.close() < 8
    assert log_bodies(running.bus.of(contracts.LOGS_TOPIC)) == []
    again = Running(tmp_path)
    assert wait_for(lambda: log_bodies(again.bus.of(contracts.LOGS_TOPIC)) == ["kept"])
    again.close()


def test_a_source_that_fails_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    journal = tmp_path / "agent" / "files.db"
    journal.parent.mkdir()
    journal.write_bytes(b"damaged" * 1000)
    running = Running(tmp_path)
    assert wait_for(lambda: "damaged" in str(running.agent.status()["files"]["last_error"]))
    assert httpx.get(running.url("/healthz")).status_code == 200
    journal.unlink()
    (tmp_path / "logs" / "a.log").write_text("after all\n")
    assert wait_for(lambda: log_bodies(running.bus.of(contracts.LOGS_TOPIC)) == ["after all"])
    assert int(running.agent.status()["files"]["restarts"]) >= 1
    running.close()


def test_without_a_token_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(ReceiverError, match="token"):
        Agent(AgentConfig(state_dir=tmp_path, hostname="h", otlp_host="0.0.0.0"), FakeBus(), FakeRegistry())
    config = AgentConfig(state_dir=tmp_path, hostname="h", otlp_host="0.0.0.0", otlp_token="geheim")
    assert "geheim" not in repr(config)


def test_a_port_in_use_is_one_clear_error(running: Running, tmp_path: Path) -> None:
    running.url("/")
    config = AgentConfig(state_dir=tmp_path / "other", hostname="h", otlp_port=running.port, host_interval_s=0)
    agent = Agent(config, running.bus, FakeRegistry())
    stop = threading.Event()
    thread = threading.Thread(target=agent.run, args=(stop, lambda: None, lambda port: None))
    thread.start()
    assert wait_for(lambda: "choose another port" in str(agent.status().get("receiver", {}).get("last_error")))
    stop.set()
    thread.join(10)


def test_schemas_are_registered(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry.db")
    config = AgentConfig(state_dir=tmp_path, hostname="h", otlp_port=-1, host_interval_s=0)
    stop = threading.Event()
    thread = threading.Thread(
        target=Agent(config, FakeBus(), registry).run, args=(stop, lambda: None, lambda port: None)
    )
    thread.start()
    assert wait_for(lambda: bool(registry.versions(f"{contracts.LEDGER_TOPIC}-value")))
    stop.set()
    thread.join(10)
    registry.close()


def test_a_source_without_a_sign_of_life_is_not_well() -> None:
    class Hanging:
        name = "hanging"

        def __init__(self) -> None:
            self.runs = 0

        def run(self, stop: threading.Event, beat: object) -> None:
            stop.wait()

        def status(self) -> dict[str, int | float | str]:
            return {}

    now = [0.0]
    stop = threading.Event()
    runner = Runner(Hanging(), stop, lambda: now[0])
    runner.start()
    assert runner.is_well(30)
    now[0] = 31
    assert not runner.is_well(30)
    stop.set()
    assert runner.join(10)
