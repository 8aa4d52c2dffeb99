"""Samples as columns: what a selection of series hands to a query engine."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Longs: TypeAlias = npt.NDArray[np.int64]
Labels: TypeAlias = tuple[tuple[str, str], ...]
"""A series' identity: (name, value) pairs sorted by name, `__name__` included, no empty value."""


class Match(enum.Enum):
    """How a matcher compares; the values are PromQL's operators."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher. A label that a series lacks has the value "". Regular expressions are fully anchored RE2, dot matches newline."""

    name: str
    op: Match
    value: str


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """Samples of S series over T shared timelines, N values in all; values in a series are in time order, stamps strictly increase.

    Stale markers (the NaN with bits 0x7ff0000000000002) are present in `values`, bits intact.
    """

    labels: Sequence[Labels]
    """S label sets, each distinct."""
    values: Floats
    """N values, by series, then by time."""
    offsets: Longs
    """S + 1: series i holds values[offsets[i]:offsets[i + 1]]; never empty."""
    timeline: Longs
    """S: which timeline holds the stamps of series i; its length equals the series' count."""
    stamps: Longs
    """Milliseconds since the epoch, all timelines one after the other."""
    stamp_offsets: Longs
    """T + 1: timeline j is stamps[stamp_offsets[j]:stamp_offsets[j + 1]]."""


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    """What is known of a metric besides its samples; strings may be empty."""

    name: str
    kind: str
    """Prometheus' type: counter, gauge, histogram, summary, unknown."""
    unit: str
    help: str


class SampleStore(Protocol):
    """What queries need of a time-series store. All times are milliseconds, both bounds inclusive. Safe to call from several threads.

    Raises tsdb.errors.StoreUnavailableError when the store cannot answer; never returns a partial answer silently.
    """

    def select(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> SampleColumns:
        """Every sample in [start_ms, end_ms] of every series that matches all matchers."""
        ...

    def series(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Label sets that match and may have samples in the range's days; sorted."""
        ...

    def label_names(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Sorted label names of matching series; no matchers means all series."""
        ...

    def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> list[str]:
        """Sorted values of one label among matching series."""
        ...

    def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        """Metadata of one metric or of all, sorted by name."""
        ...
