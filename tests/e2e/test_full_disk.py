"""No room under a folder: it is said, nothing acknowledged is lost, and all goes on once there is room."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from archive.local import LocalObjects
from archive.reader import Selection, read_archive
from heliograph import contracts
from tests.e2e import inputs
from tests.e2e.running import ask, await_ready, notes, readyz, running, send, total, tracebacks, vector
from tests.oracle.platform_under_test import Platform, wait_for

SIZES_MIB = {"bus": 24, "search": 24, "archive": 24, "tsdb": 24, "agent": 24, "spool": 96}
"""The spool leaves 64 MiB to others."""
BLOCK_BYTES = 256 * 1024
RECORDS_MAX = 15 * 30  # the bus has little room too
SAID_S = 40.0
SETTLE_S = 60.0


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    root = tmp_path_factory.mktemp("disk")
    folders = {root / "data" / name: size for name, size in SIZES_MIB.items()}
    done: list[Path] = []
    try:
        for folder, size_mib in folders.items():
            folder.mkdir(parents=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("a small tmpfs cannot be mounted here")
            done.append(folder)
        (root / "followed").mkdir()
        with running(Platform(root / "data", follow=(f"{root}/followed/*.log",))) as platform:
            yield platform
    finally:
        for folder in done:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (BLOCK_BYTES, 4096):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return filler


def archived(data_dir: Path, service: bytes) -> int:
    """How many batches of a service the archive holds."""
    found = read_archive(LocalObjects(data_dir / "archive"), Selection(contracts.LOGS_TOPIC))
    return sum(each.record.header("hg.service") == service for each in found)


def noise(n: int) -> list[str]:
    """Bodies that do not compress."""
    return [f"noise {n} {os.urandom(4000).hex()}" for _ in range(15)]


def test_a_full_disk_under_the_bus_is_what_the_spool_is_for(mounted: Platform) -> None:
    filler = fill(mounted.data_dir / "bus")
    acknowledged = 0

    def is_spooling() -> bool:
        nonlocal acknowledged
        batch = noise(acknowledged)
        assert send(mounted, inputs.logs("bus-spooled", batch))[0] == 200
        acknowledged += len(batch)
        return "kept in the spool" in (notes(mounted, "agent") or {}).get("spool", "")

    wait_for("the agent spools, and is ready", is_spooling, SAID_S)
    assert send(mounted, inputs.logs("bus-spooled", ["one more"]))[0] == 200
    filler.unlink()
    wait_for("every record", lambda: total(mounted, service="bus-spooled") == acknowledged + 1, SETTLE_S)
    assert notes(mounted, "agent") == {}


def test_full_disks_under_bus_and_spool_are_answered_with_503(mounted: Platform) -> None:
    assert send(mounted, inputs.samples("bus-room", {"a": 1.0}))[0] == 200
    fillers = [fill(mounted.data_dir / "spool"), fill(mounted.data_dir / "bus")]
    acknowledged = 0
    refusal = ""
    end = time.monotonic() + SAID_S
    while not refusal:
        assert time.monotonic() < end, "never refused"
        batch = noise(acknowledged)
        status, answer = send(mounted, inputs.logs("bus-full", batch))
        if status == 200:
            acknowledged += len(batch)
        else:
            assert status == 503
            refusal = answer
    assert "the bus does not take it now: send again later" in refusal
    assert "outbox" in (readyz(mounted, "agent") or {})
    for filler in fillers:
        filler.unlink()
    await_ready(mounted)
    wait_for("a batch is taken", lambda: send(mounted, inputs.logs("bus-room", ["room"]))[0] == 200, SETTLE_S)
    wait_for("it is found", lambda: total(mounted, service="bus-room") >= 1, SETTLE_S)
    # What was refused may be there all the same: its sender was told to send it again.
    assert total(mounted, service="bus-full") in (acknowledged, acknowledged + len(noise(0)))


def test_full_disks_under_the_stores_and_the_agent_hold_up_only_what_needs_them(mounted: Platform) -> None:
    fillers = [fill(mounted.data_dir / name) for name in ("search", "archive", "tsdb")]
    expected = 0

    def is_said_after_more(roles: Sequence[str]) -> bool:
        nonlocal expected
        if expected >= RECORDS_MAX:
            return all(readyz(mounted, role) for role in roles)
        batch = noise(expected)
        metrics = {f"{i:03d}": float(expected) for i in range(5)}
        status, answer = send(mounted, inputs.logs("stores-full", batch), inputs.samples("stores-full", metrics))
        assert status == 200, answer
        expected += len(batch)
        return all(readyz(mounted, role) for role in roles)

    wait_for(
        "every router says so", lambda: is_said_after_more(("router-search", "router-archive", "router-tsdb")), SAID_S
    )
    for role in ("router-search", "router-archive", "router-tsdb"):
        (reason,) = (readyz(mounted, role) or {}).values()
        assert "\n" not in reason
        assert "unexpected error" not in reason
        assert "full" in reason or "No space left" in reason
    fillers.append(fill(mounted.data_dir / "agent"))
    line = mounted.data_dir.parent / "followed" / "agent-full.log"
    line.write_text("written while the agent could remember nothing\n")
    wait_for("the agent says so", lambda: "files wait" in (readyz(mounted, "agent") or {}).get("files", ""), SAID_S)
    for filler in fillers:
        filler.unlink()
    await_ready(mounted)
    wait_for("every record", lambda: total(mounted, service="stores-full") == expected, SETTLE_S)
    wait_for("the line", lambda: total(mounted, service="agent-full") == 1, SETTLE_S)
    query = 'max_over_time(e2e_value{job="stores-full", case="000"}[10m])'
    wait_for("the samples", lambda: [float(s["value"][1]) for s in vector(mounted, query)] == [expected - 15], SETTLE_S)
    wait_for("the archive", lambda: archived(mounted.data_dir, b"stores-full") == expected // 15, SETTLE_S)
    assert ask(mounted, "/api/flow")["stores"]["tsdb"]["ready"]
    assert tracebacks(mounted.data_dir) == []
