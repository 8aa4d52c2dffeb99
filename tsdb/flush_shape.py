"""The shape of a flush: how the values of its messages, one after the other, become the value columns of its rows.

It depends on which layouts come in which number only, so that the steady state finds it in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .bucket_set import BucketSet
from .placement import Placement
from .sample_hash import Hashes
from .samples import Longs

SetOf: TypeAlias = Callable[[str, list[int], int], BucketSet]
"""The set for a row: its bucket, the serials of the layouts that have shared stamps in it, and their series in all."""


@dataclass(frozen=True, slots=True, eq=False)
class ShapeRow:
    """One row: a slice of the permuted values."""

    bucket: str
    set: BucketSet
    first: int
    next: int
    counts: Longs
    """G: samples per series of each group of the set."""
    stamp_messages: Longs
    """Which message each stamp is of, by group, then by time."""


@dataclass(frozen=True, slots=True, eq=False)
class FlushShape:
    """For messages in canonical order (by layout, then by time) with shared stamps; N values in all."""

    permutation: Longs
    """N: which value comes where."""
    message_of: npt.NDArray[np.int32]
    """N: which message each permuted value is of."""
    seeds: Hashes
    """N: its series' part of the sample hash."""
    rows: tuple[ShapeRow, ...]

    @property
    def size_bytes(self) -> int:
        """About what this takes in memory."""
        return self.permutation.nbytes + self.message_of.nbytes + self.seeds.nbytes + 1000 * len(self.rows) + 200


def shape_of(
    placements: Sequence[Placement], repeats: Sequence[int], set_of: SetOf, extra: frozenset[str]
) -> FlushShape:
    """`placements` are distinct and in the layouts' order; layout i comes in `repeats[i]` messages, one after the other.

    `extra` are buckets that need a row although no shared stamp falls into them.
    """
    names = sorted({bucket for p in placements for bucket in p.buckets} | extra)
    rank = {name: index for index, name in enumerate(names)}
    ranks = [np.array([rank[bucket] for bucket in p.buckets], np.int64) for p in placements]
    sizes = np.zeros((len(names), len(placements)), np.int64)
    for index, placement in enumerate(placements):
        sizes[ranks[index], index] = [len(at) for at in placement.positions]
    times = np.array(repeats, np.int64)
    permutation, message_of = _permutation(placements, ranks, times, sizes * times)
    rows, seeds = _rows(names, placements, times, sizes, set_of)
    return FlushShape(permutation, message_of, seeds, rows)


def _permutation(
    placements: Sequence[Placement], ranks: Sequence[Longs], times: Longs, samples: Longs
) -> tuple[Longs, npt.NDArray[np.int32]]:
    """Where each value comes from, and of which message; `samples` counts them per bucket and layout."""
    ends = np.cumsum(samples).reshape(samples.shape)
    starts = ends - samples
    total = int(samples.sum())
    permutation = np.empty(total, np.int64)
    message_of = np.empty(total, np.int32)
    first, message = 0, 0
    for index, (placement, repeat) in enumerate(zip(placements, times.tolist(), strict=True)):
        count = placement.layout.count
        slots = starts[ranks[index], index][placement.bucket_of] + placement.place_in * repeat
        to = slots + np.arange(repeat)[:, None]
        permutation[to] = np.arange(first, first + repeat * count).reshape(repeat, count)
        message_of[to] = np.arange(message, message + repeat, dtype=np.int32)[:, None]
        first += repeat * count
        message += repeat
    return permutation, message_of


def _rows(
    names: Sequence[str],
    placements: Sequence[Placement],
    repeats: Longs,
    sizes: Longs,
    set_of: SetOf,
) -> tuple[tuple[ShapeRow, ...], Hashes]:
    serials = [p.layout.serial for p in placements]
    first_message = np.cumsum(repeats) - repeats
    rows: list[ShapeRow] = []
    seeds: list[Hashes] = []
    at = 0
    for index, name in enumerate(names):
        present = np.flatnonzero(sizes[index])
        needed = [serials[i] for i in present.tolist()]
        held = set_of(name, needed, int(sizes[index].sum()))
        times = repeats[present]
        counts = np.zeros(len(held.serials), np.int64)
        counts[[held.group_of[serial] for serial in needed]] = times
        within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        stamps = np.repeat(first_message[present], times) + within
        following = at + int((sizes[index] * repeats).sum())
        rows.append(ShapeRow(name, held, at, following, counts, stamps))
        seeds.append(np.repeat(held.seeds, np.repeat(counts, np.diff(held.bounds))))
        at = following
    return tuple(rows), np.concatenate(seeds) if seeds else np.zeros(0, np.uint64)
