"""The codec: what is sealed decodes to the same, identities and hashes hold, sizes keep to their limits."""

from __future__ import annotations

import struct
import zlib
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import contracts
from heliograph.errors import DecodeError, EncodeError, OversizeError
from heliograph.framing import FRAME_BYTES, schema_id_of, zigzag
from heliograph.identity import BatchId, ProducerIdentity, item_hash
from heliograph.message import Headers, Message, checked_crc, decode_bundle, encode_bundle, partition_of
from heliograph.metrics import Exemplar, Layout, Series, seal_metrics
from heliograph.records import LogRecord, Source, decode_batch, event_minute, seal_logs

SOURCE = Source({"service.name": "shop", "host.name": "h"})
AT_NS = 1_790_000_000_123_456_789


def log(
    body: str = "hello", trace_id: bytes = b"", at_ns: int = AT_NS, **attributes: str | int | float | bool
) -> LogRecord:
    return LogRecord(
        time_unix_nano=at_ns, observed_time_unix_nano=AT_NS, severity_number=9, severity_text="INFO", body=body,
        attributes=attributes, trace_id=trace_id, span_id=b"", flags=0,
    )  # fmt: skip


def seal(*records: LogRecord) -> list[Message]:
    return seal_logs(records, SOURCE, ProducerIdentity().mint)


def decoded(message: Message) -> list[dict[str, object]]:
    records = decode_batch(message.body, contracts.schema("log_batch"))["records"]
    assert isinstance(records, list)
    return records


@given(
    st.text(),
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans())),
)
def test_a_sealed_log_record_decodes_to_the_same(body: str, attributes: dict[str, str | int | float | bool]) -> None:
    try:
        (message,) = seal_logs([{**log(body), "attributes": attributes}], SOURCE, ProducerIdentity().mint)
    except EncodeError:
        assert any("\ud800" <= c <= "\udfff" for c in body + "".join(map(str, [*attributes, *attributes.values()])))
        return
    (record,) = decoded(message)
    assert (record["body"], repr(record["attributes"])) == (body, repr(attributes))


def test_the_headers_say_what_the_body_holds() -> None:
    (message,) = seal(log("a"), log("b", at_ns=AT_NS + 60_000_000_000))
    headers = Headers.decode(message.headers)
    records = decoded(message)
    assert (headers.tenant, headers.service, headers.count, headers.attempt) == ("default", "shop", 2, 0)
    assert (headers.time_min_ns, headers.time_max_ns) == (AT_NS, AT_NS + 60_000_000_000)
    books = [(b.minute, b.count, b.hash_sum) for b in headers.books]
    assert books == [(r["event_minute"], 1, r["item_hash"]) for r in records]
    assert headers.schema == contracts.schema("log_batch").fingerprint
    assert schema_id_of(message.body) == contracts.schema("log_batch").offline_id
    assert checked_crc(message.body, message.headers)
    assert not checked_crc(message.body[:-1] + b"\1", message.headers)


def test_an_item_hash_is_over_identity_and_content() -> None:
    batch_id = BatchId(bytes(16), 1)
    same = item_hash(batch_id, 0, b"x")
    others = {item_hash(BatchId(bytes(16), 2), 0, b"x"), item_hash(batch_id, 1, b"x"), item_hash(batch_id, 0, b"y")}
    assert same not in others and len(others) == 3 and 0 <= same < 2**32


def test_records_of_a_trace_share_a_partition_and_others_go_by_resource() -> None:
    traces = [bytes([i]) * 16 for i in range(20)]
    messages = seal(*(log(trace_id=t) for t in traces), log(), log())
    partitions = contracts.topics()[contracts.LOGS_TOPIC].partitions
    for message in messages:
        for record in decoded(message):
            trace = record["trace_id"]
            assert isinstance(trace, bytes)
            assert message.partition == partition_of(trace or SOURCE.key, partitions)


def test_batches_aim_at_their_size_and_sequences_have_no_gap() -> None:
    messages = seal(*(log("x" * 5000) for _ in range(200)))
    assert len(messages) > 3
    assert all(len(m.body) <= contracts.BATCH_BYTES_TARGET for m in messages)
    assert [Headers.decode(m.headers).batch_id.sequence for m in messages] == list(range(len(messages)))


def test_a_body_too_long_is_cut_with_a_mark_and_attributes_too_long_are_refused() -> None:
    (message,) = seal(log("é" * 1_000_000))
    (record,) = decoded(message)
    body, cut = record["body"], record["truncated_bytes"]
    assert isinstance(body, str) and isinstance(cut, int)
    assert len(message.body) <= contracts.BATCH_BYTES_MAX and len(body.encode()) + cut == 2_000_000
    with pytest.raises(OversizeError):
        seal(log("", huge="x" * 1_000_000))


def test_times_outside_of_64_bits_are_refused_and_those_before_the_epoch_are_minute_0() -> None:
    with pytest.raises(EncodeError):
        seal(log(at_ns=2**63))
    assert decoded(seal(log(at_ns=-5))[0])[0]["event_minute"] == event_minute(-5) == 0


def test_bundles_and_attempts_round_trip() -> None:
    messages = seal(log("a"), log("b", trace_id=b"\1" * 16))
    again = [m.again() for m in messages]
    assert decode_bundle(encode_bundle(again)) == again
    assert [Headers.decode(m.headers).attempt for m in again] == [1] * len(again)
    assert [m.body for m in again] == [m.body for m in messages]


@given(st.integers(0, 400))
def test_a_bundle_that_is_cut_is_refused_whole(cut: int) -> None:
    bundle = encode_bundle(seal(log("a")))
    if 0 < cut < len(bundle):
        with pytest.raises(DecodeError):
            decode_bundle(bundle[:cut])


@given(st.integers(-(2**63), 2**63 - 1))
def test_zigzag_is_avros_long(value: int) -> None:
    shifted = zigzag(value)
    total = sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(shifted))
    assert (total >> 1) ^ -(total & 1) == value


def series(count: int) -> list[Series]:
    return [
        Series(
            f"m{i:03d}" if count < 1000 else f"m{i:06d}",
            (("instance", "h"), ("job", "shop")),
            "counter",
            "s",
            "Help.",
            "m",
        )
        for i in range(count)
    ]


def test_a_metric_batch_is_plain_avro_whose_tail_is_the_layout() -> None:
    layout = Layout.of(series(3))
    values = array("d", [1.5, float("inf"), -0.0])
    exemplar = Exemplar(0, 7, 2.5, {"trace_id": "ab"})
    message = seal_metrics(
        SOURCE, layout, 1000, values, ProducerIdentity().mint, time_offsets_ms=[0, -1, 2], exemplars=[exemplar]
    )
    batch = decode_batch(message.body, contracts.schema("metric_batch"))
    assert message.body.endswith(layout.tail) and batch["layout"] == layout.hash
    assert [struct.pack("<d", v) for v in batch["values"]] == [struct.pack("<d", v) for v in values]
    assert (batch["timestamp"], batch["time_offsets"], batch["resource"]) == (1000, [0, -1, 2], dict(SOURCE.resource))
    assert batch["series"][1] == {
        "name": "m001", "labels": [{"key": "instance", "value": "h"}, {"key": "job", "value": "shop"}], "kind": "counter",
        "unit": "s", "help": "Help.", "family": "m",
    }  # fmt: skip
    assert batch["exemplars"] == [{"series_index": 0, "timestamp": 7, "value": 2.5, "attributes": {"trace_id": "ab"}}]


@pytest.mark.parametrize(
    "wrong",
    [
        [Series("b", ()), Series("a", ())],
        [Series("a", ()), Series("a", ())],
        [Series("a", (("x", ""),))],
        [Series("", ())],
    ],
)
def test_a_layout_is_sorted_distinct_and_has_no_empty_label(wrong: list[Series]) -> None:
    with pytest.raises(EncodeError):
        Layout.of(wrong)


def test_values_and_offsets_must_fit_the_layout() -> None:
    layout, mint = Layout.of(series(2)), ProducerIdentity().mint
    with pytest.raises(EncodeError):
        seal_metrics(SOURCE, layout, 0, [1.0], mint)
    with pytest.raises(EncodeError):
        seal_metrics(SOURCE, layout, 0, [1.0, 2.0], mint, time_offsets_ms=[1])
    with pytest.raises(OversizeError):
        seal_metrics(SOURCE, Layout.of(series(30_000)), 0, [0.0] * 30_000, mint)


def test_item_hash_stands_last_and_series_stands_last() -> None:
    for name in ("log_batch", "span_batch"):
        records = next(f for f in contracts.schema(name).parsed["fields"] if f["name"] == "records")
        assert records["type"]["items"]["fields"][-1]["name"] == "item_hash"
    assert contracts.schema("metric_batch").parsed["fields"][-1]["name"] == "series"


def test_the_identity_is_minted_per_process() -> None:
    pid = [1]
    randoms = iter([b"a" * 16, b"b" * 16])
    identity = ProducerIdentity(lambda _: next(randoms), lambda: pid[0])
    assert [identity.mint(), identity.mint()] == [BatchId(b"a" * 16, 0), BatchId(b"a" * 16, 1)]
    pid[0] = 2
    assert identity.mint() == BatchId(b"b" * 16, 0)


def test_what_is_no_frame_is_said() -> None:
    for message in (b"", b"\0\0\0", b"\1\0\0\0\1x"):
        with pytest.raises(DecodeError, match="not_avro"):
            schema_id_of(message)
    assert FRAME_BYTES == 5 and zlib.crc32(b"") == 0
