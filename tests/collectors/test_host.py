from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from collectors.drops import Drops
from collectors.host import HostSource, Target
from collectors.host_readings import READINGS, Family
from collectors.outbox import Outbox
from heliograph import contracts
from heliograph.identity import ProducerIdentity
from heliograph.records import decode_batch
from tests.collectors.fake_bus import FakeBus
from tests.collectors.waiting import wait_for


class Running:
    """A host source in a thread."""

    def __init__(self, interval_s: float = 60.0, outbox_bytes_max: int = 1 << 26) -> None:
        self.bus = FakeBus()
        self.outbox = Outbox(self.bus, linger_s=0.0, bytes_max=outbox_bytes_max)
        identity = ProducerIdentity()
        self.drops = Drops(self.outbox, identity.mint, lambda: 1_700_000_000_000_000_000)
        self.source = HostSource(
            self.outbox, self.drops, identity.mint, hostname="h1", interval_s=interval_s, pids=lambda: {"agent": os.getpid()}
        )  # fmt: skip
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.source.run, args=(self.stop, lambda: None))
        self.thread.start()

    def close(self) -> None:
        self.stop.set()
        self.thread.join(10)
        self.outbox.close(0.5)

    def batches(self) -> list[dict[str, Any]]:
        schema = contracts.schema("metric_batch")
        return [decode_batch(m.body, schema) for m in self.bus.of(contracts.METRICS_TOPIC)]


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.close()


def found(batch: dict[str, Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (s["name"], tuple((p["key"], p["value"]) for p in s["labels"])): v
        for s, v in zip(batch["series"], batch["values"], strict=True)
    }


def test_the_first_reading_is_there_at_once_with_node_exporters_names(running: Running) -> None:
    assert wait_for(lambda: len(running.batches()) == 2)
    node = next(b for b in running.batches() if b["resource"]["service.name"] == "node")
    samples = found(node)
    target = (("instance", "h1"), ("job", "node"))
    names = {name for name, _ in samples}
    assert samples["node_memory_MemTotal_bytes", target] > 1 << 20
    assert 0 < samples["node_memory_MemAvailable_bytes", target] < samples["node_memory_MemTotal_bytes", target]
    assert samples["node_boot_time_seconds", target] < samples["node_time_seconds", target]
    assert samples["node_cpu_seconds_total", (("cpu", "0"), *target, ("mode", "idle"))] > 0
    assert samples["node_procs_running", target] >= 1
    assert {"node_load1", "node_load5", "node_load15", "node_filesystem_avail_bytes", "node_uname_info"} <= names
    assert {"node_network_receive_bytes_total", "node_context_switches_total", "node_filesystem_size_bytes"} <= names
    kinds = {s["name"]: s["kind"] for s in node["series"]}
    assert kinds["node_cpu_seconds_total"] == "counter"
    assert kinds["node_load1"] == "gauge"
    uname = next(dict(labels) for name, labels in samples if name == "node_uname_info")
    assert uname["nodename"] == socket.gethostname()


def test_our_own_processes_are_read_by_role(running: Running) -> None:
    assert wait_for(lambda: len(running.batches()) == 2)
    own = next(b for b in running.batches() if b["resource"]["service.name"] == "heliograph")
    labels = (("instance", "h1"), ("job", "heliograph"), ("role", "agent"))
    assert found(own)["process_resident_memory_bytes", labels] > 1 << 20
    assert found(own)["process_cpu_seconds_total", labels] > 0


def test_no_reading_fails_here() -> None:
    for read in READINGS.values():
        assert list(read())


def test_the_layout_is_encoded_once_per_shape() -> None:
    target = Target("node", "h1")
    mint = ProducerIdentity().mint
    family = Family("m", "gauge", "")
    one = target.batch([(family, (("a", "2"),), 2.0), (family, (("a", "1"),), 1.0)], 1, mint)
    two = target.batch([(family, (("a", "2"),), 4.0), (family, (("a", "1"),), 3.0)], 2, mint)
    three = target.batch([(family, (("a", "1"),), 5.0)], 3, mint)
    assert one is not None
    assert two is not None
    assert three is not None
    first, second, third = (decode_batch(m.body, contracts.schema("metric_batch")) for m in (one, two, three))
    assert first["layout"] == second["layout"] != third["layout"]
    assert [p["value"] for p in first["series"][0]["labels"]] == ["1", "h1", "node"]
    assert (first["values"], second["values"], third["values"]) == ([1.0, 2.0], [3.0, 4.0], [5.0])


def test_readings_wait_for_the_bus_and_keep_their_time() -> None:
    running = Running(interval_s=0.05)
    running.bus.down = True
    assert wait_for(lambda: int(running.source.status()["scrapes"]) >= 5)
    running.bus.down = False
    assert wait_for(lambda: len(running.batches()) >= 10)
    running.close()
    stamps = [b["timestamp"] for b in running.batches() if b["resource"]["service.name"] == "node"]
    assert stamps == sorted(set(stamps))


def test_readings_that_find_no_room_become_facts() -> None:
    running = Running(interval_s=60, outbox_bytes_max=2000)
    assert wait_for(lambda: running.drops.dropped == 2)
    running.drops.flush()
    assert wait_for(lambda: len(running.bus.of(contracts.LEDGER_TOPIC)) == 2)
    running.close()
    facts = [decode_batch(m.body, contracts.schema("ledger_fact")) for m in running.bus.of(contracts.LEDGER_TOPIC)]
    assert {(f["outcome"], f["reason"], f["topic"]) for f in facts} == {
        ("dropped", "queue_full", contracts.METRICS_TOPIC)
    }
