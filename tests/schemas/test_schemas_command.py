"""`schemas check` finds what is broken, and `schemas show` shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from heliograph import contracts
from ops import schemas_command
from ops.schemas_command import app, check_all, shipped

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped schemas, to break."""
    return Path(shutil.copytree(shipped(), tmp_path / "schemas"))


def _problems(folder: Path) -> dict[tuple[str, str], str]:
    return {(f.subject, f.rule): f.problem for f in check_all(folder) if f.problem}


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")


def test_the_shipped_schemas_are_whole(folder: Path) -> None:
    findings = check_all(folder)
    assert _problems(folder) == {}
    rules = {f.rule for f in findings}
    assert {"is Avro", "has docs", "is FULL_TRANSITIVE with v1", "has its fields"} <= rules
    assert {f.subject for f in findings} == {p.stem for p in folder.glob("*.avsc")} | set(contracts.topics()) | {
        "topics"
    }


def test_a_field_without_a_doc_is_found_however_deep(folder: Path) -> None:
    def undocument(schema: Any) -> None:
        del schema["fields"][-1]["type"]["items"]["fields"][0]["doc"]

    _edit(folder / "log_batch.avsc", undocument)
    assert _problems(folder) == {("log_batch", "has docs"): "no doc: log_batch.records.time_unix_nano"}


def test_a_new_field_without_default_is_found(folder: Path) -> None:
    field = {"name": "level", "type": "string", "doc": "Level."}
    _edit(folder / "log_batch.avsc", lambda schema: schema["fields"].append(field))
    problem = _problems(folder)["log_batch", "is FULL_TRANSITIVE with v1"]
    assert problem == "the new cannot read the old: level is not written and has no default"


def test_a_schema_that_is_none_is_found(folder: Path) -> None:
    (folder / "log_batch.avsc").write_text('{"type": "recrod"}')
    assert "is Avro" in {rule for subject, rule in _problems(folder) if subject == "log_batch"}


def test_a_schema_without_history_or_examples_is_found(folder: Path) -> None:
    shutil.copy(folder / "ledger_fact.avsc", folder / "fresh.avsc")
    rules = {rule for subject, rule in _problems(folder) if subject == "fresh"}
    assert rules == {"has a history", "has valid examples", "has invalid examples"}


def test_a_schema_that_went_away_is_found(folder: Path) -> None:
    (folder / "dead_letter.avsc").unlink()
    assert _problems(folder)["dead_letter", "is FULL_TRANSITIVE with v1"] == "the schema itself is gone"


def test_an_example_that_does_not_do_what_it_says_is_found(folder: Path) -> None:
    path = folder / "examples" / "valid" / "ledger_fact" / "a-batch-stored.json"
    shutil.copy(path, folder / "examples" / "valid" / "ledger_fact" / "broken.json")
    _edit(path.with_name("broken.json"), lambda document: document.update(extra=1))
    document = json.loads(path.read_text("utf-8"))
    wrong = folder / "examples" / "invalid" / "ledger_fact" / "harmless.json"
    wrong.write_text(json.dumps({"reason": "hop", "value": document}))
    found = _problems(folder)
    assert found["ledger_fact", "takes broken"] == "ledger_fact.extra differs after a round trip"
    assert found["ledger_fact", "refuses harmless"] == "expected 'hop', found ''"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("    owner: platform\n", "", ("telemetry.metrics", "has its fields")),
        ("schema: metric_batch", "schema: metrics", ("telemetry.metrics", "has a schema")),
        ("partitions: 4", "partitions: 0", ("telemetry.metrics", "has partitions and a retention")),
        ("telemetry.deadletters.tsdb:", "telemetry.letters:", ("topics", "each router has a dead-letter topic")),
    ],
)
def test_a_broken_topic_is_found(folder: Path, old: str, new: str, problem: tuple[str, str]) -> None:
    path = folder / "topics.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert list(_problems(folder)) == [problem]


def test_partitions_of_logs_that_differ_from_those_of_traces_are_found(folder: Path) -> None:
    head, logs, tail = (folder / "topics.yaml").read_text("utf-8").partition("telemetry.logs:")
    (folder / "topics.yaml").write_text(head + logs + tail.replace("partitions: 4", "partitions: 8", 1))
    assert _problems(folder) == {("topics", "logs and traces share partitions"): "8 and 4"}


def test_check_answers_in_json_when_piped_and_exits_0() -> None:
    result = CliRunner().invoke(app, ["check"])
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["broken"]) == (0, [])
    assert answer["checked"] > 50


def test_check_exits_1_and_names_what_is_broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "history" / "log_batch.v1.avsc").unlink()
    monkeypatch.setattr(schemas_command, "shipped", lambda: folder)
    result = CliRunner().invoke(app, ["check", "--json"])
    assert result.exit_code == 1
    assert [(b["subject"], b["rule"]) for b in json.loads(result.stdout)["broken"]] == [("log_batch", "has a history")]


def test_show_lists_the_schemas_with_their_ids_and_topics() -> None:
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["show"]).stdout)}
    assert rows["log_batch"]["id"] == contracts.schema("log_batch").offline_id
    assert rows["log_batch"]["topics"] == ["telemetry.logs"]


def test_show_prints_a_schema_as_it_is_registered() -> None:
    assert CliRunner().invoke(app, ["show", "span_batch"]).stdout.strip() == contracts.schema("span_batch").text


def test_show_of_an_unknown_schema_says_which_there_are() -> None:
    result = CliRunner().invoke(app, ["show", "nothing"])
    assert result.exit_code == 1
    assert result.stderr.startswith("There is no schema nothing; there are dead_letter, ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "0 broken"),
        (["show"], "telemetry.deadletters.search"),
        (["show", "span_batch"], "records[].links[].span_id"),
    ],
)
def test_a_terminal_gets_tables(arguments: list[str], words: str) -> None:
    ours, theirs = os.openpty()
    code = "from ops.schemas_command import app; app()"
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    child = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=_ROOT, stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while chunk := _read(terminal.fileno()):
            shown += chunk
    assert child.wait(30) == 0
    assert words in re.sub(r"\x1b\[[\d;]*m", "", shown.decode())


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # the other end of a terminal has closed
        return b""
