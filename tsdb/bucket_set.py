"""The series set that a bucket's rows of one writer refer to: groups of layouts in the order of their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .label_columns import concatenate
from .placement import Placement
from .port import NewSet
from .sample_hash import Hashes, series_seeds
from .samples import Longs
from .series_set import encode_set

_SPARSE: Final = 4
_IDLE_FLUSHES: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class BucketSet:
    """What a flush needs to know of a stored series set."""

    hash: bytes
    serials: tuple[int, ...]
    """G, in the layouts' order: which layout each group is of."""
    bounds: Longs
    """G + 1."""
    seeds: Hashes
    """S: for samples' hashes."""
    group_of: dict[int, int]
    """Group by serial."""

    @property
    def size_bytes(self) -> int:
        """About what this takes in memory."""
        return self.seeds.nbytes + 20 * self.bounds.nbytes + 300


def serves(current: BucketSet | None, needed: Sequence[int], wanted: int) -> bool:
    """Whether rows of these layouts, `wanted` series in all, can refer to the present set, so that rows share sets.

    A set that is mostly idle is given up.
    """
    return current is not None and current.group_of.keys() >= set(needed) and wanted * _SPARSE >= current.bounds[-1]


def serials_to_hold(
    current: BucketSet | None, needed: Sequence[int], last_used: Mapping[int, int], tick: int
) -> set[int]:
    """Which layouts the next set holds: what is needed, and of the present set what did not idle for some flushes."""
    if current is None or current.group_of.keys() >= set(needed):
        return set(needed)
    lively = {s for s in current.serials if tick - last_used.get(s, -_IDLE_FLUSHES) < _IDLE_FLUSHES}
    return lively.union(needed)


def build(tenant: str, parts: Sequence[tuple[Placement, Longs]]) -> tuple[BucketSet, NewSet]:
    """From the layouts' series in this bucket; `parts` are in the layouts' order."""
    ids = np.concatenate([p.layout.ids[at] for p, at in parts])
    shards = np.concatenate([p.layout.shard_hashes[at] for p, at in parts])
    sizes = [len(at) for _, at in parts]
    labels = concatenate([(p.layout.labels, at) for p, at in parts])
    key, blob = encode_set(ids, shards, sizes, labels)
    serials = tuple(p.layout.serial for p, _ in parts)
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))
    held = BucketSet(key, serials, bounds, series_seeds(ids), {serial: group for group, serial in enumerate(serials)})
    return held, NewSet(tenant, key, blob, labels.columns["__name__"].values[1:])
