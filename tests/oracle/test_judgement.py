"""The oracle can tell: what is lost, doubled, altered or unknown is named."""

from __future__ import annotations

import struct
import zlib

from .faults import plan
from .issued import STALE, body_of, value_bits
from .run import ROLES
from .verdict import judge, signals


def test_a_store_that_holds_what_was_acknowledged_is_good() -> None:
    verdict = judge("s", [("1-log-0", True), ("1-log-1", True)], {"1-log-0", "1-log-1"}, {"1-log-0"})
    assert verdict.good and verdict.found == 2


def test_each_violation_is_named() -> None:
    found = [("1-log-0", True), ("1-log-0", True), ("1-log-2", False), ("9-log-9", True)]
    verdict = judge("s", found, {"1-log-0", "1-log-1", "1-log-2"}, {"1-log-0", "1-log-1"})
    assert not verdict.good
    assert (verdict.lost, verdict.doubled, verdict.altered, verdict.unknown) == (
        ["1-log-1"],
        ["1-log-0"],
        ["1-log-2"],
        ["9-log-9"],
    )
    assert "1 lost (1-log-1)" in str(verdict)


def test_bodies_and_values_follow_from_their_ids() -> None:
    body = body_of("7-log-3")
    text, _, checksum = body.removeprefix("oracle 7-log-3 ").rpartition(" sum=")
    assert body == body_of("7-log-3") != body_of("7-log-4")
    assert f"{zlib.crc32(('7-log-3' + text).encode()):08x}" == checksum
    bits = {value_bits(1, series, 1000) for series in range(200)}
    assert len(bits) > 150
    assert struct.unpack(">Q", struct.pack(">d", STALE))[0] == 0x7FF0000000000002


def test_ids_tell_their_signal() -> None:
    assert signals({"1-log-0", "1-sample-0-5", "1-otlp-2"}, "log", "otlp") == {"1-log-0", "1-otlp-2"}


def test_a_plan_follows_from_its_seed_and_meets_every_role() -> None:
    assert plan(3, ROLES, 20.0, 6) == plan(3, ROLES, 20.0, 6) != plan(4, ROLES, 20.0, 6)
    hit = {fault.role for seed in range(40) for fault in plan(seed, ROLES, 20.0, 6)}
    assert hit == {*ROLES, "up"}
