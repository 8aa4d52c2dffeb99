"""The fast reader of metric messages reads what fastavro reads, and refuses what is not Avro."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import random
from typing import Any

import fastavro
import numpy as np
import pytest

from heliograph import contracts
from heliograph.framing import frame
from heliograph.metrics import Layout, Series
from tsdb.errors import RecordError
from tsdb.metric_message import MetricMessage, MetricMessages

from .metric_log import NOW_MS, MetricLog, layout

SCHEMA = contracts.schema("metric_batch")


def encode(batch: dict[str, Any], schema: contracts.Schema = SCHEMA, schema_id: int = 0) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema.parsed, batch)
    return frame(schema_id or SCHEMA.offline_id) + stream.getvalue()


def batch_of(of: Layout, **fields: Any) -> dict[str, Any]:
    series = [
        {
            "name": s.name, "labels": [{"key": k, "value": v} for k, v in s.labels], "kind": s.kind, "unit": s.unit,
            "help": s.help, "family": s.family,
        }
        for s in of.series
    ]  # fmt: skip
    return {
        "producer_id": b"p" * 16, "sequence": 3, "layout": of.hash, "timestamp": NOW_MS, "values": [1.5] * len(series),
        "time_offsets": [], "resource": {"service.name": "shop", "host.name": "h"}, "exemplars": [], "series": series,
        **fields,
    }  # fmt: skip


def read(message: bytes, reader: MetricMessages | None = None) -> MetricMessage:
    return (reader or MetricMessages()).read(message, SCHEMA)


def test_known_and_new_layouts_read_the_same() -> None:
    reader = MetricMessages()
    log = MetricLog()
    of = layout("x", 3, 4)
    rng = random.Random(1)
    first = None
    for turn in range(6):
        values = [rng.random() for _ in of.series]
        offsets = [rng.randrange(-(2**31), 2**31) for _ in of.series] if turn % 2 else []
        resource = {"a": "b"} if turn < 4 else {"a": "c", "é": "ü"}
        message = reader.read(log.append(of, NOW_MS - turn, values, offsets, resource=resource).body, SCHEMA)
        first = first or message
        assert message.layout is first.layout
        assert (message.sequence, message.timestamp_ms, dict(message.resource)) == (turn, NOW_MS - turn, resource)
        assert message.values.tolist() == values
        assert (message.time_offsets_ms is None) == (not offsets)
        if message.time_offsets_ms is not None:
            assert message.time_offsets_ms.tolist() == offsets


def test_values_of_a_single_block_are_not_copied() -> None:
    record = MetricLog().append(layout("x"), NOW_MS, [1.0] * 6)
    values = read(record.body).values
    assert values.base is not None
    assert not values.flags.owndata


def test_blocks_exemplars_and_sizes_of_blocks_are_read() -> None:
    of = layout("x", 1, 3)
    exemplar = {"series_index": 1, "timestamp": 5, "value": 0.5, "attributes": {"trace_id": "ff"}}
    whole = encode(batch_of(of, exemplars=[exemplar, exemplar]))
    reader = MetricMessages()
    for _ in range(2):
        assert read(whole, reader).values.tolist() == [1.5] * 3
    doubles = np.array([1.5], "<f8").tobytes()
    plain = b"\x06" + doubles * 3 + b"\x00"
    assert plain in whole
    for blocks in (b"\x02" + doubles + b"\x04" + doubles * 2 + b"\x00", b"\x05\x30" + doubles * 3 + b"\x00"):
        assert read(whole.replace(plain, blocks), reader).values.tolist() == [1.5] * 3


def test_every_cut_message_is_refused_known_or_not() -> None:
    body = MetricLog().append(layout("x"), NOW_MS, [1.0] * 6, [1, 2, 3, 4, 5, 70_000]).body
    warm = MetricMessages()
    read(body, warm)
    for size in range(5, len(body)):
        for reader in (warm, MetricMessages()):
            with pytest.raises(RecordError) as refused:
                read(body[:size], reader)
            assert refused.value.reason in ("not_avro", "bad_record")
    with pytest.raises(RecordError, match="not_avro"):
        read(body + b"\0", warm)


def test_flipped_bytes_never_crash_the_reader() -> None:
    body = MetricLog().append(layout("x"), NOW_MS, [1.0] * 6, [1, 2, 3, 4, 5, 70_000]).body
    warm = MetricMessages()
    read(body, warm)
    rng = random.Random(4)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(body)
        damaged[rng.randrange(5, len(body))] ^= rng.randrange(1, 256)
        try:
            assert len(read(bytes(damaged), warm).values) == 6
        except RecordError:
            refused += 1
    assert refused > 1000


def test_series_that_do_not_match_their_hash_are_refused() -> None:
    of = layout("x")
    reader = MetricMessages()
    read(encode(batch_of(of)), reader)
    other = batch_of(layout("y"), layout=of.hash)
    with pytest.raises(RecordError) as refused:
        read(encode(other), reader)
    assert refused.value.reason == "layout_mismatch"


@pytest.mark.parametrize(
    "fields",
    [{"values": [1.0]}, {"values": [1.0] * 7}, {"time_offsets": [1]}, {"values": []}, {"time_offsets": [0] * 7}],
)
def test_columns_of_another_length_are_refused(fields: dict[str, Any]) -> None:
    reader = MetricMessages()
    read(encode(batch_of(layout("x"))), reader)
    with pytest.raises(RecordError) as refused:
        read(encode(batch_of(layout("x"), **fields)), reader)
    assert refused.value.reason == "bad_record"


@pytest.mark.parametrize(
    "series",
    [
        [Series("b", ()), Series("a", ())],
        [Series("a", ()), Series("a", ())],
        [Series("a", (("x", "1"), ("b", "1")))],
        [Series("a", (("x", ""),))],
        [Series("a", (("__name__", "b"),))],
        [Series("", ())],
    ],
)
def test_series_that_break_the_contract_are_refused(series: list[Series]) -> None:
    stream = io.BytesIO()
    fastavro.schemaless_writer(
        stream, SCHEMA.parsed["fields"][-1]["type"], batch_of(Layout(tuple(series), b"", b""))["series"]
    )
    of = Layout(tuple(series), b"", hashlib.sha256(stream.getvalue()).digest()[:16])
    with pytest.raises(RecordError) as refused:
        read(encode(batch_of(of)))
    assert refused.value.reason == "bad_record"


def test_a_message_of_a_later_schema_is_resolved() -> None:
    document = copy.deepcopy(json.loads(SCHEMA.text))
    document["fields"].insert(4, {"name": "note", "type": "string", "default": ""})
    later = contracts.schema_from_text("metric_batch", json.dumps(document))
    of = layout("x")
    message = encode({**batch_of(of), "note": "new"}, later, schema_id=77)
    reader = MetricMessages()
    for _ in range(2):
        found = reader.read(message, later)
        assert (found.values.tolist(), found.timestamp_ms, found.producer_id) == ([1.5] * 6, NOW_MS, b"p" * 16)
        assert found.resource["service.name"] == "shop"
    with pytest.raises(RecordError):
        reader.read(message[:-3], later)


def test_layouts_are_forgotten_at_the_limit_and_learnt_again() -> None:
    reader = MetricMessages(cache_bytes_max=10_000)
    log = MetricLog()
    for turn in range(40):
        of = layout(f"t{turn % 20}")
        message = reader.read(log.append(of, NOW_MS, [float(turn)] * 6).body, SCHEMA)
        assert message.layout.hash == of.hash
        assert message.values.tolist() == [float(turn)] * 6
    assert len(reader._cached) < 20
