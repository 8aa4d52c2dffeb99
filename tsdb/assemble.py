"""From decoded blocks to SampleColumns, with no Python statement per sample.

Where all blocks of a series share its timeline in order, values are gathered by index once. What overlaps (replays, rows of several
writers, series that moved from one set to another, ragged samples) is sorted and deduplicated by the total order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .l0 import L0Block
from .samples import Floats, Labels, Longs, SampleColumns
from .series_set import SeriesSet
from .total_order import deduplicated

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen series of one set and the blocks that hold their samples."""

    set: SeriesSet
    ordinals: Longs
    """Ascending."""
    labels: Sequence[Labels]
    """Of each ordinal."""
    blocks: Sequence[L0Block]


@dataclass(frozen=True, slots=True)
class _Timelines:
    """What the chosen groups of a set hold in the range; entries are samples of one series of the group, in block order."""

    group: Longs
    """Of each chosen series: index of its group among the chosen groups."""
    position: Longs
    """Of each chosen series: its place in its group."""
    lengths: Longs
    """Entries per group."""
    starts: Longs
    """Per entry: where the value of the group's series 0 is in `flat`; series p has it `p * strides` later."""
    strides: Longs
    stamps: Longs
    flat: Floats
    unordered: npt.NDArray[np.bool_]
    """Per group: its stamps do not strictly increase."""


@dataclass(slots=True)
class _Pieces:
    """The columns of the answer so far."""

    labels: list[Labels]
    values: list[Floats]
    counts: list[Longs]
    timeline: list[Longs]
    stamps: list[Longs]
    lengths: list[Longs]
    timelines: int = 0

    def add(
        self, labels: Sequence[Labels], values: Floats, counts: Longs, timeline: Longs, stamps: Longs, lengths: Longs
    ) -> None:
        self.labels += labels
        self.values.append(values)
        self.counts.append(counts)
        self.timeline.append(timeline + self.timelines)
        self.stamps.append(stamps)
        self.lengths.append(lengths)
        self.timelines += len(lengths)

    def columns(self) -> SampleColumns:
        return SampleColumns(
            self.labels,
            _floats(self.values),
            _bounds(_longs(self.counts)),
            _longs(self.timeline),
            _longs(self.stamps),
            _bounds(_longs(self.lengths)),
        )


def assemble(selections: Sequence[Selection], start_ms: int, end_ms: int) -> SampleColumns:
    """Every sample in [start_ms, end_ms] of the chosen series; one per (series, timestamp)."""
    selections = [s for s in selections if len(s.ordinals) and s.blocks]
    pieces = _Pieces([], [], [], [], [], [])
    if not selections:
        return pieces.columns()
    timelines = [_timelines(s, start_ms, end_ms) for s in selections]
    loose = [_with_ragged(s, start_ms, end_ms) for s in selections]
    active = [(lines.lengths[lines.group] > 0) | ragged for lines, ragged in zip(timelines, loose, strict=True)]
    if not any(some.any() for some in active):
        return pieces.columns()
    ids = [s.set.ids[s.ordinals[some]] for s, some in zip(selections, active, strict=True)]
    identity, shared = _identities(ids)
    rest: list[tuple[Longs, Longs, Floats]] = []
    names: dict[int, Labels] = {}
    for selection, lines, ragged, some, numbers in zip(selections, timelines, loose, active, identity, strict=True):
        who = np.full(len(some), -1)
        who[some] = numbers
        unclean = some & (shared[who] | lines.unordered[lines.group] | ragged)
        _gather(pieces, lines, np.flatnonzero(~unclean), selection.labels)
        if unclean.any():
            at = np.flatnonzero(unclean)
            rest += [(who[series], stamps, values) for series, stamps, values in _loose(lines, at)]
            names.update(zip(who[at].tolist(), [selection.labels[i] for i in at.tolist()], strict=True))
        if ragged.any():
            rest.append(_ragged(selection, who, start_ms, end_ms))
    if rest:
        _sort(pieces, rest, names)
    return pieces.columns()


def _identities(ids: Sequence[npt.NDArray[np.uint8]]) -> tuple[list[Longs], npt.NDArray[np.bool_]]:
    """Per selection a number for each series, equal for equal ids; and per number whether it occurs more than once."""
    whole = np.ascontiguousarray(np.concatenate(ids))
    halves = whole.view("<u8").reshape(-1, 2)
    _, first, inverse = np.unique(halves[:, 0], return_index=True, return_inverse=True)
    if (halves[first[inverse], 1] != halves[:, 1]).any():
        _, inverse = np.unique(whole.view("V16").ravel(), return_inverse=True)
    numbers = inverse.ravel().astype(np.int64)
    ends = np.cumsum([len(part) for part in ids])[:-1]
    return np.split(numbers, ends), np.bincount(numbers) > 1


def _timelines(selection: Selection, start_ms: int, end_ms: int) -> _Timelines:
    bounds = selection.set.groups
    groups = np.searchsorted(bounds, selection.ordinals, "right") - 1
    chosen, group = np.unique(groups, return_inverse=True)
    sizes = np.diff(bounds)
    blocks = sorted(selection.blocks, key=_first_stamp)
    counts = np.stack([block.counts for block in blocks])
    value_base = np.cumsum([0, *(len(block.values) for block in blocks)])[:-1]
    stamp_base = np.cumsum([0, *(len(block.stamps) for block in blocks)])[:-1]
    samples = counts * sizes
    first_value = value_base[:, None] + np.cumsum(samples, axis=1) - samples
    first_stamp = stamp_base[:, None] + np.cumsum(counts, axis=1) - counts
    picked = counts[:, chosen].T
    each = picked.ravel()
    within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    starts = np.repeat(first_value[:, chosen].T.ravel(), each) + within
    strides = np.repeat(each, each)
    stamps = np.concatenate([b.stamps for b in blocks])[np.repeat(first_stamp[:, chosen].T.ravel(), each) + within]
    lengths = picked.sum(axis=1)
    inside = (stamps >= start_ms) & (stamps <= end_ms)
    if not inside.all():
        of_group = np.repeat(np.arange(len(chosen)), lengths)
        lengths = np.bincount(of_group[inside], minlength=len(chosen))
        starts, strides, stamps = starts[inside], strides[inside], stamps[inside]
    falls = np.zeros(len(stamps), np.bool_)
    falls[1:] = stamps[1:] <= stamps[:-1]
    heads = (np.cumsum(lengths) - lengths)[lengths > 0]
    falls[heads] = False
    unordered = np.bincount(np.repeat(np.arange(len(chosen)), lengths)[falls], minlength=len(chosen)) > 0
    flat = blocks[0].values if len(blocks) == 1 else np.concatenate([block.values for block in blocks])
    position = selection.ordinals - bounds[groups]
    return _Timelines(group.ravel(), position, lengths, starts, strides, stamps, flat, unordered)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Series whose groups have equally many entries: everything as series × length."""

    series: Longs
    chosen: Longs
    """The groups."""
    timeline: Longs
    """Of each series: index into `chosen`."""
    stamps: Longs
    """Groups × length."""
    values: Floats


def _grids(lines: _Timelines, series: Longs) -> Iterator[_Grid]:
    """Some series in as many grids as there are lengths; those without entries are left out."""
    lengths = lines.lengths[lines.group[series]]
    first = np.cumsum(lines.lengths) - lines.lengths
    for length in np.unique(lengths[lengths > 0]).tolist():
        some = series[lengths == length]
        chosen, timeline = np.unique(lines.group[some], return_inverse=True)
        entries = first[chosen][:, None] + np.arange(length)
        strides = lines.strides[entries]
        position = lines.position[some][:, None]
        at = lines.starts[entries][timeline]
        at += position * strides[0, 0] if (strides == strides[0, 0]).all() else position * strides[timeline]
        yield _Grid(some, chosen, timeline, lines.stamps[entries], lines.flat.take(at))


def _gather(pieces: _Pieces, lines: _Timelines, series: Longs, labels: Sequence[Labels]) -> None:
    """Series with clean timelines."""
    for grid in _grids(lines, series):
        length = grid.values.shape[1]
        names = labels if len(grid.series) == len(labels) else [labels[i] for i in grid.series.tolist()]
        counts = np.full(len(grid.series), length)
        lengths = np.full(len(grid.chosen), length)
        pieces.add(names, grid.values.ravel(), counts, grid.timeline, grid.stamps.ravel(), lengths)


def _loose(lines: _Timelines, series: Longs) -> list[tuple[Longs, Longs, Floats]]:
    """The samples of some series one by one: (series, stamp, value) columns."""
    return [
        (np.repeat(grid.series, grid.values.shape[1]), grid.stamps[grid.timeline].ravel(), grid.values.ravel())
        for grid in _grids(lines, series)
    ]


def _with_ragged(selection: Selection, start_ms: int, end_ms: int) -> npt.NDArray[np.bool_]:
    """Which of the chosen series have samples with stamps of their own in the range."""
    has = np.zeros(selection.set.count, np.bool_)
    for block in selection.blocks:
        if block.ragged is not None:
            inside = (block.ragged.stamps >= start_ms) & (block.ragged.stamps <= end_ms)
            has[block.ragged.ordinals[inside]] = True
    return has[selection.ordinals]


def _ragged(selection: Selection, who: Longs, start_ms: int, end_ms: int) -> tuple[Longs, Longs, Floats]:
    parts = [block.ragged for block in selection.blocks if block.ragged is not None]
    place = np.full(selection.set.count, -1, np.int64)
    place[selection.ordinals] = who
    series = place[np.concatenate([part.ordinals for part in parts])]
    stamps = np.concatenate([part.stamps for part in parts])
    values = np.concatenate([part.values for part in parts])
    keep = (series >= 0) & (stamps >= start_ms) & (stamps <= end_ms)
    return series[keep], stamps[keep], values[keep]


def _sort(pieces: _Pieces, rest: Sequence[tuple[Longs, Longs, Floats]], names: dict[int, Labels]) -> None:
    """Samples in any order become series; equal sequences of stamps become one timeline."""
    series, stamps, values = deduplicated(*(np.concatenate(column) for column in zip(*rest, strict=True)))
    if not len(series):
        return
    first = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), series[1:] != series[:-1])))
    counts = np.diff(np.append(first, len(series)))
    within = (np.arange(len(series)) - np.repeat(first, counts) + 1).astype(np.uint64)
    digests = np.add.reduceat(stamps.astype(np.uint64) * (within * _MIX), first) + counts.astype(np.uint64)
    _, representative, timeline = np.unique(digests, return_index=True, return_inverse=True)
    timeline = timeline.ravel()
    lengths = counts[representative]
    if (lengths[timeline] != counts).any() or not _agree(stamps, first, counts, representative[timeline]):
        representative = timeline = np.arange(len(first))
        lengths = counts
    lines = np.repeat(first[representative] - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
    labels = [names[who] for who in series[first].tolist()]
    pieces.add(labels, values, counts, timeline, stamps[lines], lengths)


def _agree(stamps: Longs, first: Longs, counts: Longs, representative: Longs) -> bool:
    shift = np.repeat(first[representative] - first, counts)
    return bool((stamps[np.arange(len(stamps)) + shift] == stamps).all())


def _first_stamp(block: L0Block) -> int:
    return int(block.stamps[0]) if len(block.stamps) else 0


def _bounds(counts: Longs) -> Longs:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))


def _longs(parts: Sequence[Longs]) -> Longs:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _floats(parts: Sequence[Floats]) -> Floats:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0)
