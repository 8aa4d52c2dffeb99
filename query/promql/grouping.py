"""Which series belong together, and rows in the order of their groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from query.promql.matrix import NAME
from tsdb.samples import Labels, Longs


def grouped_labels(labels: Labels, names: frozenset[str], without: bool) -> Labels:
    """A series' labels after by or without; without drops the metric name too."""
    if without:
        return tuple([pair for pair in labels if pair[0] not in names and pair[0] != NAME])
    return tuple([pair for pair in labels if pair[0] in names])


@dataclass(frozen=True, slots=True)
class Groups:
    """A partition of S series."""

    labels: Sequence[Labels]
    """One label set per group."""
    codes: Longs
    """S: each series' group."""
    order: npt.NDArray[np.intp]
    """All series, by group."""
    bounds: Longs
    """Group g is order[bounds[g]:bounds[g + 1]]; never empty."""

    def rows(self, group: int) -> npt.NDArray[np.intp]:
        """The series of one group."""
        return self.order[self.bounds[group] : self.bounds[group + 1]]


def group_by(keys: Sequence[Labels]) -> Groups:
    """Series with equal keys together, groups in order of first appearance."""
    index: dict[Labels, int] = {}
    codes = np.array([index.setdefault(key, len(index)) for key in keys], np.int64)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(index) + 1)).astype(np.int64)
    return Groups(list(index), codes, order, bounds)
