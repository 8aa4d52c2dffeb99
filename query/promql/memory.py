"""A sample store in memory: a complete implementation of the port, for tests and for trying queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import numpy as np

from query.promql.regex import anchored
from tsdb.samples import Floats, Labels, Longs, Match, Matcher, MetricMetadata, SampleColumns

Points = Sequence[tuple[int, float]]
"""(milliseconds, value), stamps strictly increasing."""


class MemoryStore:
    """A SampleStore over a mapping from labels to points. It answers every tenant alike.

    Series with equal stamps share a timeline, as in the real stores.
    """

    def __init__(self, series: Mapping[Labels, Points], metadata: Sequence[MetricMetadata] = ()) -> None:
        """Raises ValueError for labels that are no identity or stamps that do not increase."""
        self._series = {labels: _columns(labels, points) for labels, points in sorted(series.items())}
        self._metadata = sorted(metadata, key=lambda entry: entry.name)

    def select(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> SampleColumns:
        """Every sample in the range of every matching series; series without one are left out."""
        labels: list[Labels] = []
        values: list[Floats] = []
        timelines: dict[bytes, tuple[int, Longs]] = {}
        timeline: list[int] = []
        for own in filter_series(self._series, matchers):
            stamps, points = self._series[own]
            low, high = np.searchsorted(stamps, (start_ms, end_ms + 1))
            if low == high:
                continue
            part = stamps[low:high]
            labels.append(own)
            values.append(points[low:high])
            timeline.append(timelines.setdefault(part.tobytes(), (len(timelines), part))[0])
        lines = [stamps for _, stamps in timelines.values()]
        return SampleColumns(
            labels,
            np.concatenate([np.empty(0), *values]),
            _offsets(len(part) for part in values),
            np.array(timeline, np.int64),
            np.concatenate([np.empty(0, np.int64), *lines]),
            _offsets(len(line) for line in lines),
        )

    def series(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Label sets of matching series with a sample in the range, sorted."""
        return list(self.select(tenant, matchers, start_ms, end_ms).labels)

    def label_names(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Label names of matching series, sorted."""
        return sorted({name for own in self.series(tenant, matchers, start_ms, end_ms) for name, _ in own})

    def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> list[str]:
        """Values of one label among matching series, sorted."""
        found = self.series(tenant, matchers, start_ms, end_ms)
        return sorted({value for own in found for label, value in own if label == name})

    def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        """Metadata as given to the constructor."""
        return [entry for entry in self._metadata if metric is None or entry.name == metric]


def filter_series(series: Iterable[Labels], matchers: Sequence[Matcher]) -> list[Labels]:
    """The label sets that pass all matchers, in their order."""
    tests = [(matcher, _Test(matcher)) for matcher in matchers]
    passing: list[Labels] = []
    for labels in series:
        values = dict(labels)
        if all(test(values.get(matcher.name, "")) for matcher, test in tests):
            passing.append(labels)
    return passing


class _Test:
    """A matcher's verdict on one value."""

    __slots__ = ("_matcher", "_regex")

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        wants_regex = matcher.op in (Match.REGEX, Match.NOT_REGEX)
        self._regex = anchored(matcher.value) if wants_regex else None

    def __call__(self, value: str) -> bool:
        negated = self._matcher.op in (Match.NOT_EQUAL, Match.NOT_REGEX)
        if self._regex is None:
            return (value == self._matcher.value) is not negated
        return (self._regex.fullmatch(value) is not None) is not negated


def _columns(labels: Labels, points: Points) -> tuple[Longs, Floats]:
    names = [name for name, _ in labels]
    if names != sorted(set(names)) or not all(value for _, value in labels):
        raise ValueError(f"labels must be sorted by name, distinct, and not empty: {labels}")
    stamps = np.array([stamp for stamp, _ in points], np.int64)
    if (np.diff(stamps) <= 0).any():
        raise ValueError(f"stamps of {labels} must strictly increase")
    return stamps, np.array([value for _, value in points], np.float64)


def _offsets(lengths: Iterable[int]) -> Longs:
    return np.array([0, *accumulate(lengths)], np.int64)
