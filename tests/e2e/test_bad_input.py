"""What no store can take stands on the bus between what is good: each bad batch becomes one letter, each good one is found."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from archive.local import LocalObjects
from archive.reader import Selection, read_archive
from bus.embedded_registry import EmbeddedRegistry
from bus.errors import OversizeError
from bus.registry import IncompatibleSchemaError
from bus.sqlite import SqliteBus
from heliograph import contracts
from heliograph.message import Message
from tests.e2e import inputs
from tests.e2e.letters import STORES, Letter, letters
from tests.e2e.running import READERS, announce, ask, bus_of, ends, is_read, post, running, send, total, vector
from tests.oracle.platform_under_test import Platform, wait_for
from tsdb.reader import TsdbReader
from tsdb.samples import Match, Matcher
from tsdb.sqlite import SqliteBlocks

UNKNOWN_ID = 4711
STALE = 0x7FF0000000000002
ODD_BITS = {
    "nan": 0x7FF8000000000000,
    "nan_payload": 0xFFF8000000C0FFEE,
    "inf": 0x7FF0000000000000,
    "minus_inf": 0xFFF0000000000000,
    "minus_zero": 0x8000000000000000,
    "zero": 0,
    "tiny": 1,
    "stale": STALE,
}
FAR_PAST_NS = 631_152_000 * 10**9  # 1990
FAR_FUTURE_NS = 4_102_444_800 * 10**9  # 2100
SETTLE_S = 60.0


def other_schema() -> contracts.Schema:
    fields = [{"name": "text", "type": "string"}]
    return contracts.schema_from_text("Other", json.dumps({"type": "record", "name": "Other", "fields": fields}))


def bits(value: int) -> float:
    number: float = struct.unpack("<d", struct.pack("<Q", value))[0]
    return number


@dataclass(frozen=True, slots=True)
class Sent:
    """What was put on the bus, and where."""

    platform: Platform
    bus: SqliteBus
    places: dict[str, tuple[str, int, int]]
    bodies: dict[str, bytes]
    good: int
    """Good batches of each signal."""

    def letter(self, store: str, case: str) -> Letter | None:
        return letters(self.bus, store).get(self.places[case])


def bad(other_id: int) -> dict[str, Message]:
    log, metric = inputs.logs("bad", ["never found"]), inputs.samples("bad", {"a": 1.0})
    now = time.time_ns()
    cases = {}
    for kind, message in (("log", log), ("metric", metric)):
        cases[f"{kind} not avro"] = inputs.not_avro(message)
        cases[f"{kind} empty"] = inputs.with_body(message, b"")
        cases[f"{kind} cut"] = inputs.cut(message)
        cases[f"{kind} crc"] = inputs.crc_broken(message)
        cases[f"{kind} unknown schema"] = inputs.of_schema(message, UNKNOWN_ID)
        cases[f"{kind} incompatible schema"] = inputs.of_schema(message, other_id)
    cases["log past"] = inputs.logs("far", ["past", "present a"], [FAR_PAST_NS, now])
    cases["log future"] = inputs.logs("far", ["present b", "future"], [now, FAR_FUTURE_NS])
    cases["metric past"] = inputs.samples("far", {"a": 1.0}, FAR_PAST_NS // 10**6)
    cases["metric future"] = inputs.samples("far", {"a": 1.0}, FAR_FUTURE_NS // 10**6)
    return cases


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    platform = Platform(tmp_path_factory.mktemp("bad") / "data")
    with bus_of(platform.data_dir) as bus:
        registry = EmbeddedRegistry(platform.data_dir / "bus" / "registry.db")
        cases = bad(registry.register("other-value", other_schema()))
        registry.close()
        places, good = {}, 0
        for case, message in cases.items():
            good += 1
            bus.produce([inputs.logs("good", [f"good {good}"]), inputs.samples("good", {f"{good:02d}": float(good)})])
            places[case] = message.topic, message.partition, bus.produce([message])[0]
        good += 1
        bus.produce([inputs.logs("good", [f"good {good}"]), inputs.samples("good", {f"{good:02d}": float(good)})])
        bus.produce([inputs.samples("odd", {case: bits(value) for case, value in ODD_BITS.items()})])
        until = ends(bus)
        with running(platform):
            # Everything was put there before the start, so that all of it is in the first cuts.
            wait_for("all is read", lambda: all(is_read(bus, group, until) for group in READERS), SETTLE_S)
            yield Sent(platform, bus, places, {case: m.body for case, m in cases.items()}, good)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("not avro", "not_avro"),
        ("empty", "not_avro"),
        ("cut", "not_avro"),
        ("crc", "crc_mismatch"),
        ("unknown schema", "unknown_schema"),
        ("incompatible schema", "incompatible_schema"),
    ],
)
@pytest.mark.parametrize(("kind", "store"), [("log", "search"), ("metric", "tsdb")])
def test_a_bad_batch_becomes_one_letter_with_its_reason_and_its_bytes(
    sent: Sent, kind: str, store: str, case: str, reason: str
) -> None:
    letter = sent.letter(store, f"{kind} {case}")
    assert letter is not None
    assert (letter.reason, letter.indexes) == (reason, ())
    assert letter.body == sent.bodies[f"{kind} {case}"]
    assert letter.detail
    assert "Traceback" not in letter.detail


@pytest.mark.parametrize("kind", ["log", "metric"])
def test_the_archive_refuses_only_what_it_cannot_name(sent: Sent, kind: str) -> None:
    found = {case: sent.letter("archive", case) for case in sent.places if case.startswith(kind)}
    reasons = {case.removeprefix(f"{kind} "): letter.reason for case, letter in found.items() if letter}
    assert reasons == {
        "not avro": "not_avro",
        "empty": "not_avro",
        "crc": "crc_mismatch",
        "unknown schema": "unknown_schema",
        "incompatible schema": "incompatible_schema",
    }


def test_nothing_else_is_dead(sent: Sent) -> None:
    for store in STORES:
        assert set(letters(sent.bus, store)) <= set(sent.places.values())


def test_every_good_batch_is_found_in_every_store(sent: Sent) -> None:
    assert total(sent.platform, service="good") == sent.good
    found = vector(sent.platform, 'e2e_value{job="good"}')
    assert {float(series["value"][1]) for series in found} == {float(n) for n in range(1, sent.good + 1)}
    archived = read_archive(LocalObjects(sent.platform.data_dir / "archive"), Selection(contracts.LOGS_TOPIC))
    assert sum(a.record.header("hg.service") == b"good" for a in archived) == sent.good


def test_of_a_batch_only_the_records_of_another_age_are_dead(sent: Sent) -> None:
    past, future = sent.letter("search", "log past"), sent.letter("search", "log future")
    assert past is not None
    assert future is not None
    assert (past.reason, past.indexes) == ("too_late", (0,))
    assert (future.reason, future.indexes) == ("too_new", (1,))
    found = ask(sent.platform, "/api/logs", service="far")["records"]
    assert {record["body"] for record in found} == {"present a", "present b"}


def test_a_sample_of_another_age_is_dead(sent: Sent) -> None:
    past, future = sent.letter("tsdb", "metric past"), sent.letter("tsdb", "metric future")
    assert (past and past.reason, future and future.reason) == ("too_late", "too_new")
    assert vector(sent.platform, 'e2e_value{job="far"}') == []


def test_odd_values_come_back_to_the_bit(sent: Sent) -> None:
    reader = TsdbReader(SqliteBlocks(sent.platform.data_dir / "tsdb"))
    matchers = [Matcher("__name__", Match.EQUAL, "e2e_value"), Matcher("job", Match.EQUAL, "odd")]
    columns = reader.select("default", matchers, 0, 2**52)
    cases = [dict(labels)["case"] for labels in columns.labels]
    assert dict(zip(cases, columns.values.view("<u8").tolist(), strict=True)) == ODD_BITS


def test_odd_values_are_text_in_prometheus_own_way_and_a_stale_series_is_gone(sent: Sent) -> None:
    found = vector(sent.platform, 'e2e_value{job="odd"}')
    assert {series["metric"]["case"]: series["value"][1] for series in found} == {
        "nan": "NaN",
        "nan_payload": "NaN",
        "inf": "+Inf",
        "minus_inf": "-Inf",
        "minus_zero": "-0",
        "zero": "0",
        "tiny": "5e-324",
    }


def test_the_registry_refuses_an_incompatible_version_in_a_sentence(sent: Sent) -> None:
    registry = EmbeddedRegistry(sent.platform.data_dir / "bus" / "registry.db")
    try:
        with pytest.raises(IncompatibleSchemaError, match=r"telemetry\.logs-value: not compatible with version 1"):
            registry.register("telemetry.logs-value", other_schema())
    finally:
        registry.close()


def test_the_bus_refuses_a_batch_over_its_limit(sent: Sent) -> None:
    large = inputs.with_body(inputs.logs("large", ["x"]), b"\0" * (1024 * 1024 + 1))
    with pytest.raises(OversizeError, match="takes at most 1048576"):
        sent.bus.produce([large])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (inputs.not_avro, "not_avro: the first byte is 255, not 0"),
        (inputs.crc_broken, "the body does not match its CRC32C"),
        (lambda m: inputs.of_schema(m, UNKNOWN_ID), f"no schema {UNKNOWN_ID} is registered"),
        (lambda m: inputs.of_schema(m, other_schema().offline_id), "is Other, not "),
        (lambda m: inputs.with_body(m, m.body + b"\0" * 950_000), "at most 921600 are taken"),
    ],
    ids=["not avro", "crc", "unknown schema", "incompatible schema", "over the limit"],
)
def test_the_receiver_refuses_a_bad_batch_with_400_and_a_sentence(
    sent: Sent, spoil: Callable[[Message], Message], sentence: str
) -> None:
    good = inputs.logs("refused", ["not taken, for a bundle is taken whole or not at all"])
    for message in (inputs.logs("refused", ["x"]), inputs.samples("refused", {"a": 1.0})):
        status, answer = send(sent.platform, good, spoil(message))
        assert status == 400
        error = json.loads(answer)["error"]
        assert error.startswith("message 1: ")
        assert sentence in error
    assert total(sent.platform, service="refused") == 0


def test_the_receiver_refuses_what_is_no_bundle_and_what_is_too_large(sent: Sent) -> None:
    kind = "application/vnd.heliograph.bundle"
    status, answer = post(sent.platform, "/heliograph/v1/batches", b"no bundle", kind)
    assert (status, "the bundle cannot be read" in answer) == (400, True)
    status, answer = announce(sent.platform, "/heliograph/v1/batches", 16 * 1024 * 1024 + 1, kind)
    assert (status, "larger than 16777216 bytes" in answer) == (413, True)


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
def test_the_receiver_refuses_otlp_that_is_none(sent: Sent, signal: str) -> None:
    for body, kind in (
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"\xff\xff", "application/x-protobuf"),
    ):
        status, _ = post(sent.platform, f"/v1/{signal}", body, kind)
        assert status == 400
    assert post(sent.platform, f"/v1/{signal}", b"<a/>", "text/xml")[0] == 415


def test_after_all_that_a_good_batch_is_still_taken(sent: Sent) -> None:
    assert send(sent.platform, inputs.logs("afterwards", ["still here"]))[0] == 200
    wait_for("the good batch is found", lambda: total(sent.platform, service="afterwards") == 1, SETTLE_S)
