from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import contracts
from heliograph.errors import EncodeError, OversizeError
from heliograph.identity import BatchId, ProducerIdentity
from heliograph.message import Headers, Message
from heliograph.points import (
    MetricSealer,
    Point,
    go_float,
    histogram_points,
    summary_points,
    target_info_point,
)
from heliograph.records import Source, decode_batch

SOURCE = Source({"service.name": "shop"})


def point(name: str = "x", time_ms: int = 1_000, value: float = 1.0, **labels: str) -> Point:
    return Point(name, name, "gauge", "", "", labels, time_ms, value)


def sealer(**options: int) -> MetricSealer:
    return MetricSealer(ProducerIdentity().mint, **options)


def samples(messages: Sequence[Message]) -> list[tuple[str, tuple[tuple[str, str], ...], int, float]]:
    found = []
    for message in messages:
        batch = decode_batch(message.body, contracts.schema("metric_batch"))
        offsets = batch["time_offsets"] or [0] * len(batch["values"])
        assert len(offsets) == len(batch["values"]) == len(batch["series"])
        for series, value, offset in zip(batch["series"], batch["values"], offsets, strict=True):
            labels = tuple((label["key"], label["value"]) for label in series["labels"])
            found.append((series["name"], labels, batch["timestamp"] + offset, value))
    return found


def test_points_of_one_time_are_one_batch_without_offsets() -> None:
    messages = sealer().seal([point("b"), point("a", path="/", value=2.0)], SOURCE)
    assert samples(messages) == [("a", (("path", "/"),), 1_000, 2.0), ("b", (), 1_000, 1.0)]
    assert decode_batch(messages[0].body, contracts.schema("metric_batch"))["time_offsets"] == []
    assert Headers.decode(messages[0].headers).count == 2


def test_the_timestamp_is_the_most_common_one() -> None:
    (message,) = sealer().seal([point("a", 5), point("b", 7), point("c", 7)], SOURCE)
    batch = decode_batch(message.body, contracts.schema("metric_batch"))
    assert (batch["timestamp"], batch["time_offsets"]) == (7, [-2, 0, 0])


def test_points_of_one_series_go_to_batches_of_their_own_in_order() -> None:
    messages = sealer().seal([point(time_ms=1, value=1.0), point(time_ms=2, value=2.0), point("y")], SOURCE)
    assert [samples([m]) for m in messages] == [
        [("x", (), 1, 1.0), ("y", (), 1_000, 1.0)],
        [("x", (), 2, 2.0)],
    ]


def test_times_too_far_apart_for_an_offset_are_not_in_one_batch() -> None:
    far = 5 * 10**12
    assert samples(sealer().seal([point("a", 1), point("b", far)], SOURCE)) == [("a", (), 1, 1.0), ("b", (), far, 1.0)]


def test_an_empty_label_is_no_label() -> None:
    assert samples(sealer().seal([point(path="")], SOURCE)) == [("x", (), 1_000, 1.0)]


def test_special_values_keep_their_bits() -> None:
    values = [math.inf, -math.inf, -0.0, 5e-324]
    found = samples(sealer().seal([point(f"m{i}", value=v) for i, v in enumerate(values)], SOURCE))
    assert [v.hex() for *_, v in found] == [v.hex() for v in values]
    ((*_, nan),) = samples(sealer().seal([point(value=math.nan)], SOURCE))
    assert math.isnan(nan)


def test_many_points_are_cut_into_batches_near_the_target() -> None:
    points = [point(f"metric_{i:05}", path="p" * 200) for i in range(5_000)]
    messages = sealer().seal(points, SOURCE)
    assert len(samples(messages)) == 5_000
    assert max(len(m.body) for m in messages) <= contracts.BATCH_BYTES_TARGET
    assert sorted(len(m.body) for m in messages)[1] > contracts.BATCH_BYTES_TARGET // 2


def test_a_series_larger_than_the_target_stands_alone() -> None:
    messages = sealer().seal([point("a"), point("b", path="é" * 200_000), point("c")], SOURCE)
    assert len(messages) == 3
    assert max(len(m.body) for m in messages) <= contracts.BATCH_BYTES_MAX


def test_a_series_too_large_is_refused_before_an_identity_is_minted() -> None:
    identity = ProducerIdentity()
    with pytest.raises(OversizeError):
        MetricSealer(identity.mint).seal([point("a"), point("b", path="p" * 1_000_000)], SOURCE)
    assert identity.mint().sequence == 0


@pytest.mark.parametrize("time_ms", [2**63, -(2**63), 9_223_372_036_855])
def test_a_time_beyond_the_format_is_refused_before_an_identity_is_minted(time_ms: int) -> None:
    identity = ProducerIdentity()
    with pytest.raises(EncodeError):
        MetricSealer(identity.mint).seal([point("a"), point("b", time_ms)], SOURCE)
    assert identity.mint().sequence == 0


def test_the_same_series_again_encode_no_layout() -> None:
    sealing = sealer()
    for time_ms in (1, 2, 3):
        sealing.seal([point("a", time_ms), point("b", time_ms + 1)], SOURCE)
    assert sealing.layouts_encoded == 1


def test_cached_layouts_stay_within_their_bytes() -> None:
    sealing = sealer(layouts_max_bytes=20_000)
    for i in range(200):
        sealing.seal([point(f"m{i}", path="p" * 500)], SOURCE)
        assert sealing.layouts_bytes <= 20_000
    sealing.seal([point("m199", path="p" * 500)], SOURCE)
    assert sealing.layouts_encoded == 200


def test_a_layout_larger_than_the_cache_is_still_sealed() -> None:
    sealing = sealer(layouts_max_bytes=10)
    assert len(samples(sealing.seal([point()], SOURCE))) == 1
    assert sealing.layouts_bytes == 0


def test_sealing_within_sealing_does_not_wait() -> None:
    # What a signal handler does: the second seal finds the first under way in the same thread.
    inner: list[Message] = []

    def mint() -> BatchId:
        if not inner:
            inner.append(Message("", 0, (), b""))
            inner.extend(sealing.seal([point("inner")], SOURCE))
        return BatchId(bytes(16), 0)

    sealing = MetricSealer(mint)
    assert samples(sealing.seal([point("outer")], SOURCE))[0][0] == "outer"
    assert samples(inner[1:])[0][0] == "inner"


@given(
    st.lists(
        st.builds(
            lambda name, label, time_ms, value: point(name, time_ms, value, l=label),
            st.sampled_from("abc"), st.sampled_from(["", "1", "2"]), st.integers(-(2**43), 2**43), st.floats(allow_nan=False),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_no_point_is_lost_or_doubled(points: list[Point]) -> None:
    expected = [(p.name, tuple((k, v) for k, v in p.labels.items() if v), p.time_ms, p.value) for p in points]
    assert sorted(samples(sealer().seal(points, SOURCE))) == sorted(expected)


def test_a_histogram_is_cumulative_and_ends_at_infinity() -> None:
    found = histogram_points("h", {"a": "b"}, 7, bounds=[0.5, 1.0], counts=[1, 2, 3], count=6, total=4.5)
    assert [(p.name, dict(p.labels).get("le"), p.value) for p in found] == [
        ("h_bucket", "0.5", 1.0),
        ("h_bucket", "1", 3.0),
        ("h_bucket", "+Inf", 6.0),
        ("h_count", None, 6.0),
        ("h_sum", None, 4.5),
    ]
    assert {(p.family, p.kind, p.time_ms, p.labels["a"]) for p in found} == {("h", "histogram", 7, "b")}


def test_a_histogram_without_buckets_or_sum_has_its_count() -> None:
    found = histogram_points("h", {}, 7, bounds=[], counts=[], count=6, total=None)
    assert [(p.name, p.value) for p in found] == [("h_bucket", 6.0), ("h_count", 6.0)]


def test_a_histogram_whose_counts_do_not_fit_is_refused() -> None:
    with pytest.raises(EncodeError):
        histogram_points("h", {}, 7, bounds=[1.0], counts=[1], count=1, total=None)


def test_a_summary_has_its_quantiles() -> None:
    found = summary_points("s", {}, 7, quantiles=[(0.5, 2.0), (0.99, 9.0)], count=3, total=6.0)
    assert [(p.name, dict(p.labels), p.value) for p in found] == [
        ("s", {"quantile": "0.5"}, 2.0),
        ("s", {"quantile": "0.99"}, 9.0),
        ("s_sum", {}, 6.0),
        ("s_count", {}, 3.0),
    ]


def test_target_info_is_one() -> None:
    found = target_info_point({"service.name": "shop", "host.name": "h"}, 7)
    assert (found.name, found.value, found.labels) == (
        "target_info", 1.0, {"job": "shop", "instance": "h", "host_name": "h"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1, "1"), (0.005, "0.005"), (2.5, "2.5"), (100_000, "100000"), (1e6, "1e+06"),
        (1_234_567, "1.234567e+06"), (1e23, "1e+23"), (1e-4, "0.0001"), (1e-5, "1e-05"), (-2.5e-7, "-2.5e-07"),
        (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"), (0.1 + 0.2, "0.30000000000000004"),
        (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_floats_are_spelled_as_go_spells_them(value: float, text: str) -> None:
    assert go_float(value) == text


@given(st.floats(allow_nan=False))
def test_a_spelled_float_reads_back_as_itself(value: float) -> None:
    assert float(go_float(value)).hex() == value.hex()
