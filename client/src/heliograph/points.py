"""Points, one sample each, and the sealer that makes metric batches of them.

For edges that are handed one object per sample: the SDK's exporter and the OTLP receiver. Whatever gathers the same
series again and again in its own columns builds a `Layout` once and calls `seal_metrics` itself.
"""

from __future__ import annotations

import functools
import itertools
import math
import threading
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from . import contracts, naming
from .errors import EncodeError, OversizeError
from .identity import Mint
from .message import Message
from .metrics import Layout, Series, seal_metrics
from .records import Source, string_map

LAYOUTS_BYTES_MAX = 16 * 1024 * 1024
_BATCH_OVERHEAD_BYTES = 1024
_TIME_MS_MAX = (2**63 - 1) // 1_000_000
_SPAN_BITS = 30
"""Points of one batch lie within 2^30 ms, so that every time offset fits Avro's int."""

_Row: TypeAlias = "tuple[str, tuple[tuple[str, str], ...], str, str, str, str]"


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of one series."""

    family: str
    """Name of the metric family, as Prometheus spells it: `x` for `x_bucket`."""
    name: str
    """Name of the series: `x_bucket`."""
    kind: str
    """counter, gauge, histogram, summary or unknown."""
    unit: str
    """UCUM, may be empty."""
    help: str
    """What the metric means, may be empty."""
    labels: Mapping[str, str]
    """Complete labels but the name, job and instance included; an empty value means no such label."""
    time_ms: int
    """Milliseconds since the epoch."""
    value: float


class MetricSealer:
    """Makes metric batches of points; layouts seen lately are kept encoded, at most `layouts_max_bytes` of them.

    Safe from any thread: one that finds the cache in use by another encodes its layout anew instead of waiting.
    """

    def __init__(self, mint: Mint, *, layouts_max_bytes: int = LAYOUTS_BYTES_MAX) -> None:
        self._mint = mint
        self._layouts = _LayoutCache(layouts_max_bytes)

    @property
    def layouts_encoded(self) -> int:
        """How many layouts were encoded so far: stands still while the same series come again."""
        return self._layouts.misses

    @property
    def layouts_bytes(self) -> int:
        """About how much memory the cached layouts take."""
        return self._layouts.size_bytes

    def seal(self, points: Sequence[Point], source: Source) -> list[Message]:
        """Batches of about 256 KiB, never more than 900 KiB, each holding a series once.

        Points of one series keep their order over the batches. Raises, before any identity is minted, OversizeError when one
        series with the resource is larger than a batch may be, EncodeError when a time in nanoseconds does not fit 64 bits.
        """
        overhead = _BATCH_OVERHEAD_BYTES + len(string_map(source.resource))
        packs = [pack for group in _groups(points) for pack in _packs(group, overhead)]
        return [self._seal_pack(pack, source) for pack in packs]

    def _seal_pack(self, pack: Sequence[tuple[_Row, int, float]], source: Source) -> Message:
        layout = self._layouts.get(tuple(row for row, _, _ in pack))
        times = Counter(time_ms for _, time_ms, _ in pack)
        common = max(times, key=lambda time_ms: (times[time_ms], time_ms))
        offsets = [time_ms - common for _, time_ms, _ in pack] if len(times) > 1 else ()
        values = array("d", [value for _, _, value in pack])
        return seal_metrics(source, layout, common, values, self._mint, time_offsets_ms=offsets)


class _LayoutCache:
    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._layouts: dict[tuple[_Row, ...], Layout] = {}
        self.size_bytes = 0
        self.misses = 0

    def get(self, rows: tuple[_Row, ...]) -> Layout:
        # Never wait: a fork may have left the lock held, and encoding once more is always right.
        if not self._lock.acquire(blocking=False):
            return Layout.of([Series(*row) for row in rows])
        try:
            layout = self._layouts.pop(rows, None)
            if layout is None:
                self.misses += 1
                layout = Layout.of([Series(*row) for row in rows])
                self.size_bytes += _cost(layout)
            self._layouts[rows] = layout
            while self.size_bytes > self._bytes_max:
                oldest = next(iter(self._layouts))
                self.size_bytes -= _cost(self._layouts.pop(oldest))
            return layout
        finally:
            self._lock.release()


def _cost(layout: Layout) -> int:
    return 2 * len(layout.tail) + 600 * len(layout.series)


def _groups(points: Sequence[Point]) -> list[list[tuple[_Row, int, float]]]:
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    groups: dict[tuple[int, int], list[tuple[_Row, int, float]]] = {}
    for p in points:
        if not -_TIME_MS_MAX <= p.time_ms <= _TIME_MS_MAX:
            raise EncodeError(
                "bad_record", f"{p.name}: the time {p.time_ms} ms is beyond what nanoseconds in 64 bits hold"
            )
        labels = tuple(sorted(pair for pair in p.labels.items() if pair[1]))
        nth = seen.get((p.name, labels), 0)
        seen[p.name, labels] = nth + 1
        row = (p.name, labels, p.kind, p.unit, p.help, p.family)
        groups.setdefault((nth, p.time_ms >> _SPAN_BITS), []).append((row, p.time_ms, p.value))
    return [sorted(group, key=lambda item: item[0]) for _, group in sorted(groups.items())]


def _packs(group: Sequence[tuple[_Row, int, float]], overhead: int) -> list[list[tuple[_Row, int, float]]]:
    packs: list[list[tuple[_Row, int, float]]] = []
    size = contracts.BATCH_BYTES_TARGET
    for item in group:
        added = _encoded_bytes_max(item[0])
        if overhead + added > contracts.BATCH_BYTES_MAX:
            raise OversizeError(f"a series of {item[0][0]} takes about {added} bytes, the resource {overhead}")
        if size + added > contracts.BATCH_BYTES_TARGET:
            packs.append([])
            size = overhead
        packs[-1].append(item)
        size += added
    return packs


def _encoded_bytes_max(row: _Row) -> int:
    name, labels, *rest = row
    texts = (name, *rest, *(text for pair in labels for text in pair))
    # Three bytes are the most that UTF-8 takes per character of text that is not ASCII, but for the rare astral ones.
    size = sum(len(t) if t.isascii() else 4 * len(t) for t in texts)
    return size + size // 8192 + 2 * len(texts) + 20


def histogram_points(
    family: str, labels: Mapping[str, str], time_ms: int, *, bounds: Sequence[float], counts: Sequence[int], count: int,
    total: float | None, unit: str = "", help: str = "",
) -> list[Point]:  # fmt: skip
    """`x_bucket{le}` (cumulative), `x_count`, and `x_sum` when `total` is known, of one explicit-bucket histogram.

    `bounds` ascend; `counts` holds one number per bucket, not cumulative, and one more for what lies above the last bound;
    both are empty for a histogram without buckets. Raises EncodeError when their lengths do not fit.
    """
    if len(counts) != len(bounds) + 1 and (counts or bounds):
        raise EncodeError("bad_record", f"{family}: {len(counts)} bucket counts for {len(bounds)} bounds")
    rest = ("histogram", unit, help)
    cumulative = [*zip(bounds, itertools.accumulate(counts), strict=False), (math.inf, count)]
    points = [
        Point(family, f"{family}_bucket", *rest, {**labels, "le": go_float(bound)}, time_ms, float(below))
        for bound, below in cumulative
    ]
    points.append(Point(family, f"{family}_count", *rest, labels, time_ms, float(count)))
    if total is not None:
        points.append(Point(family, f"{family}_sum", *rest, labels, time_ms, float(total)))
    return points


def summary_points(
    family: str, labels: Mapping[str, str], time_ms: int, *, quantiles: Sequence[tuple[float, float]], count: int,
    total: float, unit: str = "", help: str = "",
) -> list[Point]:  # fmt: skip
    """`x{quantile}`, `x_sum` and `x_count` of one summary; `quantiles` are (quantile from 0 to 1, value)."""
    rest = ("summary", unit, help)
    points = [
        Point(family, family, *rest, {**labels, "quantile": go_float(quantile)}, time_ms, float(value))
        for quantile, value in quantiles
    ]
    points.append(Point(family, f"{family}_sum", *rest, labels, time_ms, float(total)))
    points.append(Point(family, f"{family}_count", *rest, labels, time_ms, float(count)))
    return points


def target_info_point(resource: Mapping[str, str], time_ms: int) -> Point:
    """`target_info`, whose labels are the resource's attributes and whose value is 1."""
    labels = naming.resource_labels(resource)
    return Point("target_info", "target_info", "gauge", "", "Target metadata", labels, time_ms, 1.0)


def go_float(value: float) -> str:
    """The shortest text of a double as Go's `%g` has it, which is what `le` and `quantile` labels hold: 0.5, 1, 1e+06, +Inf."""
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    return _go_float(float(value))


@functools.lru_cache(4096)
def _go_float(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    shortest = repr(value)
    sign, numerals, exponent = Decimal(shortest).as_tuple()
    power = len(numerals) - 1 + int(exponent)
    if -4 <= power < 6:
        return shortest.removesuffix(".0")
    digits = "".join(map(str, numerals)).rstrip("0")
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{'-' if sign else ''}{digits[0]}{fraction}e{power:+03d}"
