"""The contracts that ship: every example, every earlier version, every doc, every topic."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
import yaml

from bus.compatibility import incompatibilities
from heliograph import contracts
from heliograph.contracts import schema_from_text
from heliograph.framing import frame
from heliograph.identity import BatchId, item_hash
from heliograph.metrics import Layout, Series
from heliograph.records import decode_batch, event_minute
from ops.schemas_command import example_problem

_FOLDER = Path(__file__).parents[2] / "schemas"
_NAMES = sorted(path.stem for path in _FOLDER.glob("*.avsc"))
_TOPICS: dict[str, dict[str, Any]] = yaml.safe_load((_FOLDER / "topics.yaml").read_text("utf-8"))["topics"]
_TIME_FIELD = {"log_batch": "time_unix_nano", "span_batch": "start_time_unix_nano"}


def _examples(kind: str, *names: str) -> list[Any]:
    paths = [path for name in names or _NAMES for path in sorted((_FOLDER / "examples" / kind / name).glob("*.json"))]
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in paths]


def _datum(path: Path) -> tuple[dict[str, Any], bytes]:
    """A valid example as a dict and as Avro."""
    schema = contracts.schema(path.parent.name).parsed
    document = json.dumps(json.loads(path.read_text("utf-8")))
    (datum,) = fastavro.json_reader(io.StringIO(document), schema)
    assert isinstance(datum, dict)
    encoded = io.BytesIO()
    fastavro.schemaless_writer(encoded, schema, datum)
    return datum, encoded.getvalue()


def _documented_fields(kind: Any) -> list[tuple[str, str]]:
    if isinstance(kind, list):
        return [found for branch in kind for found in _documented_fields(branch)]
    if not isinstance(kind, dict):
        return []
    fields = kind.get("fields", [])
    nested = [*[f["type"] for f in fields], kind.get("items"), kind.get("values")]
    own = [(f"{kind['name']}.{f['name']}", f.get("doc", "")) for f in fields]
    return own + [found for part in nested for found in _documented_fields(part)]


@pytest.mark.parametrize("name", _NAMES)
def test_every_field_of_every_record_has_a_doc(name: str) -> None:
    schema = json.loads((_FOLDER / f"{name}.avsc").read_text("utf-8"))
    fields = _documented_fields(schema)
    assert len(fields) >= len(schema["fields"]) > 0
    assert [field for field, doc in fields if not doc.strip()] == []
    assert schema["doc"].strip()


@pytest.mark.parametrize("name", _NAMES)
def test_every_schema_has_examples_of_both_kinds_and_a_first_version(name: str) -> None:
    assert _examples("valid", name)
    assert _examples("invalid", name)
    assert (_FOLDER / "history" / f"{name}.v1.avsc").is_file()


def test_no_example_or_history_is_of_a_schema_that_does_not_exist() -> None:
    folders = {path.name for kind in ("valid", "invalid") for path in (_FOLDER / "examples" / kind).iterdir()}
    histories = {path.name.split(".")[0] for path in (_FOLDER / "history").iterdir()}
    assert folders == histories == set(_NAMES)


@pytest.mark.parametrize("path", _examples("valid"))
def test_a_valid_example_is_exactly_one_datum(path: Path) -> None:
    assert example_problem(contracts.schema(path.parent.name), json.loads(path.read_text("utf-8"))) == ""


@pytest.mark.parametrize("path", _examples("invalid"))
def test_an_invalid_example_is_refused_for_its_reason(path: Path) -> None:
    example = json.loads(path.read_text("utf-8"))
    assert example["reason"]
    assert example["reason"] in example_problem(contracts.schema(path.parent.name), example["value"])


@pytest.mark.parametrize("path", _examples("valid", "metric_batch"))
def test_the_layout_of_a_metric_example_is_the_hash_of_its_tail(path: Path) -> None:
    datum, encoded = _datum(path)
    series = [
        Series(
            s["name"],
            tuple((label["key"], label["value"]) for label in s["labels"]),
            s["kind"],
            s["unit"],
            s["help"],
            s["family"],
        )
        for s in datum["series"]
    ]
    layout = Layout.of(series)
    assert encoded.endswith(layout.tail)
    assert datum["layout"] == layout.hash == hashlib.sha256(layout.tail).digest()[:16]
    assert len(datum["values"]) == len(series)
    assert len(datum["time_offsets"]) in (0, len(series))


@pytest.mark.parametrize("path", _examples("valid", "log_batch", "span_batch"))
def test_the_items_of_a_log_or_span_example_carry_their_hash_and_minute(path: Path) -> None:
    name = path.parent.name
    datum, encoded = _datum(path)
    assert decode_batch(frame(1) + encoded, contracts.schema(name)) == datum
    parsed: Any = contracts.schema(name).parsed
    item = next(f for f in parsed["fields"] if f["name"] == "records")["type"]["items"]
    content_schema = fastavro.parse_schema({**item, "fields": item["fields"][:-1]})
    for index, record in enumerate(datum["records"]):
        content = io.BytesIO()
        fastavro.schemaless_writer(content, content_schema, record)
        batch_id = BatchId(datum["producer_id"], datum["sequence"])
        assert record["item_hash"] == item_hash(batch_id, index, content.getvalue())
        assert record["event_minute"] == event_minute(record[_TIME_FIELD[name]])


@pytest.mark.parametrize("path", sorted((_FOLDER / "history").glob("*.avsc")), ids=lambda path: path.stem)
def test_every_schema_reads_and_is_read_by_every_earlier_version(path: Path) -> None:
    name = path.stem.rpartition(".")[0]
    earlier = schema_from_text(name, path.read_text("utf-8"))
    assert incompatibilities(earlier.parsed, contracts.schema(name).parsed) == []


def test_series_stands_last_in_a_metric_batch_and_the_hash_last_in_an_item() -> None:
    fields = {name: json.loads((_FOLDER / f"{name}.avsc").read_text("utf-8"))["fields"] for name in _NAMES}
    assert fields["metric_batch"][-1]["name"] == "series"
    for name in ("log_batch", "span_batch"):
        assert fields[name][-1]["name"] == "records"
        assert fields[name][-1]["type"]["items"]["fields"][-1]["name"] == "item_hash"


def test_no_schema_closes_an_open_set_with_an_enum() -> None:
    assert [name for name in _NAMES if '"enum"' in contracts.schema(name).text] == []


@pytest.mark.parametrize("topic", _TOPICS)
def test_a_topic_says_all_that_a_topic_must(topic: str) -> None:
    entry = _TOPICS[topic]
    assert entry.keys() == {
        "schema",
        "partitions",
        "retention_hours",
        "owner",
        "producers",
        "consumers",
        "description",
    }
    assert entry["schema"] in _NAMES
    assert entry["partitions"] >= 1
    assert entry["retention_hours"] >= 1
    assert entry["owner"]
    assert entry["producers"]
    assert entry["description"].endswith(".")


def test_logs_and_traces_have_equal_partitions() -> None:
    assert _TOPICS[contracts.LOGS_TOPIC]["partitions"] == _TOPICS[contracts.TRACES_TOPIC]["partitions"]


def test_every_router_has_one_dead_letter_topic_that_it_alone_fills() -> None:
    routers = {c for entry in _TOPICS.values() for c in entry["consumers"] if c.startswith("router.")}
    letters = {name: entry["producers"] for name, entry in _TOPICS.items() if entry["schema"] == "dead_letter"}
    expected = {f"telemetry.deadletters.{router.removeprefix('router.')}": [router] for router in routers}
    assert letters == expected
    assert len(routers) == 3


def test_the_client_ships_what_stands_here() -> None:
    assert set(contracts.topics()) == set(_TOPICS)
    for name in _NAMES:
        assert json.loads(contracts.schema(name).text) == json.loads((_FOLDER / f"{name}.avsc").read_text("utf-8"))


def test_offline_ids_do_not_clash() -> None:
    assert len({contracts.schema(name).offline_id for name in _NAMES}) == len(_NAMES)
