"""`heliograph spool`: segments are listed, damage is found, and what waits is sent while no agent runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from heliograph import contracts
from heliograph.message import Message
from heliograph.records import decode_batch
from heliograph.spool import Spool
from ops import engines
from ops.explain import explain
from ops.spool_command import app
from ops.spools import spool_folder, spool_folders
from tests.client.batches import attempts, sequences
from tests.collectors.batches import log_batch
from tests.collectors.fake_bus import FakeBus
from tests.ops.test_cli import heliograph


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> FakeBus:
    """In place of the one that the settings choose."""
    bus = FakeBus()
    monkeypatch.setattr(engines, "open_bus_of", lambda *_: bus)
    return bus


def filled(folder: Path, *batches: Message) -> Spool:
    """A spool with each batch in a segment of its own, open."""
    spool = Spool(folder, bytes_max=1 << 20, segment_bytes=1, free_bytes_min=0, dropped=_no_drop)
    spool.open()
    for batch in batches:
        spool.append([batch])
    return spool


def _no_drop(messages: Sequence[Message], reason: str) -> None:
    raise AssertionError(reason)


def run(*arguments: str, data_dir: Path) -> tuple[int, str, str]:
    """Exit code, output and what is said besides; an error as the command line tells it."""
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(data_dir)])
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        sentence, exit_code = explain(error)
        return exit_code, result.stdout, sentence
    return result.exit_code, result.stdout, result.stderr


def listed(data_dir: Path) -> list[dict[str, Any]]:
    exit_code, output, _ = run("ls", data_dir=data_dir)
    assert exit_code == 0
    rows = json.loads(output)
    assert isinstance(rows, list)
    return rows


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_every_agent_of_a_data_directory_has_a_spool_of_its_own(tmp_path: Path) -> None:
    instances = ["agent", "agent-2", "agent-10"]
    folders = [spool_folder(tmp_path, instance) for instance in instances]
    assert folders == [tmp_path / "spool", tmp_path / "agent-2" / "spool", tmp_path / "agent-10" / "spool"]
    assert spool_folders(tmp_path) == []
    for folder in folders:
        folder.mkdir(parents=True)
    assert spool_folders(tmp_path) == folders


def test_segments_are_listed_although_an_agent_runs(tmp_path: Path) -> None:
    assert listed(tmp_path) == []
    with closing(filled(tmp_path / "spool", log_batch("a"), log_batch("b"))):
        filled(tmp_path / "agent-1" / "spool", log_batch("c")).close()
        rows = listed(tmp_path)
    assert [(row["spool"], row["batches"], row["state"]) for row in rows] == [
        ("spool", 1, ""),
        ("spool", 1, ""),
        ("agent-1/spool", 1, ""),
    ]
    assert rows[0]["segment"].endswith(".seg")
    assert rows[0]["since"].startswith("20")


def test_check_is_1_when_something_is_damaged(tmp_path: Path) -> None:
    filled(tmp_path / "spool", log_batch("a"), log_batch("b")).close()
    first, second = sorted((tmp_path / "spool").glob("*.seg"))
    second.write_bytes(second.read_bytes()[:-5])
    assert run("check", data_dir=tmp_path)[0] == 0
    damage(first)
    exit_code, output, said = run("check", data_dir=tmp_path)
    assert (exit_code, said) == (1, "2 segments, 1 damaged\n")
    assert [row["state"] for row in json.loads(output)] == ["damaged", "torn end"]
    first.rename(first.with_name(first.name + ".bad"))
    assert run("check", data_dir=tmp_path)[0] == 1


def test_drain_sends_everything(tmp_path: Path, bus: FakeBus) -> None:
    batches = [log_batch(str(i)) for i in range(5)]
    filled(tmp_path / "spool", *batches[:3]).close()
    filled(tmp_path / "agent-1" / "spool", *batches[3:]).close()
    assert run("drain", data_dir=tmp_path) == (0, "", "batches sent: 5\n")
    assert sequences(bus.log) == sequences(batches)
    assert set(attempts(bus.log)) == {1}
    assert listed(tmp_path) == []
    assert run("drain", data_dir=tmp_path) == (0, "", "nothing waits in a spool\n")


def test_drain_says_what_was_damaged_and_what_the_bus_never_takes(tmp_path: Path, bus: FakeBus) -> None:
    bad = Message("nowhere", 0, log_batch("x").headers, b"")
    filled(tmp_path / "spool", log_batch("a"), bad, log_batch("b")).close()
    damage(min((tmp_path / "spool").glob("*.seg")))
    exit_code, _, said = run("drain", data_dir=tmp_path)
    assert (exit_code, said) == (
        0,
        "batches sent: 1; never taken by the bus, and named in the ledger: 1; damaged segments set aside: 1\n",
    )
    (fact,) = bus.of(contracts.LEDGER_TOPIC)
    assert decode_batch(fact.body, contracts.schema("ledger_fact"))["reason"] == "refused"


def test_drain_is_69_and_keeps_everything_while_the_bus_is_away(tmp_path: Path, bus: FakeBus) -> None:
    filled(tmp_path / "spool", log_batch("a")).close()
    bus.down = True
    assert run("drain", data_dir=tmp_path)[::2] == (69, "down")
    assert len(listed(tmp_path)) == 1
    bus.down = False
    assert run("drain", data_dir=tmp_path)[0] == 0


def test_drain_leaves_a_running_agent_its_spool_and_sends_the_others(tmp_path: Path, bus: FakeBus) -> None:
    with closing(filled(tmp_path / "spool", log_batch("a"))):
        filled(tmp_path / "agent-1" / "spool", log_batch("b")).close()
        exit_code, _, said = run("drain", data_dir=tmp_path)
    assert (exit_code, said) == (69, f"an agent runs on {tmp_path / 'spool'}: it drains the spool by itself")
    assert len(bus.log) == 1


def test_a_spool_that_cannot_be_read_is_69_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spool").mkdir()
    monkeypatch.setattr("os.scandir", lambda _: (_ for _ in ()).throw(PermissionError(13, "not permitted")))
    exit_code, _, said = run("ls", data_dir=tmp_path)
    assert exit_code == 69
    assert "cannot be read" in said


def test_the_command_line_passes_it_on_and_drains_into_the_embedded_bus(tmp_path: Path) -> None:
    assert heliograph("spool", "--help").stdout.count("drain") >= 1
    missing = heliograph("spool", "ls", "--data-dir", str(tmp_path / "nowhere"))
    assert missing.returncode == 69
    assert missing.stderr == f"heliograph: there is no data directory {tmp_path / 'nowhere'}: name it with --data-dir\n"
    filled(tmp_path / "spool", log_batch("a")).close()
    done = heliograph("spool", "drain", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "batches sent: 1\n")
    assert (tmp_path / "bus" / "bus.db").exists()
