"""Labels of many series as columns: per label name a dictionary of values and one code per series; code 0 is "no such label"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .samples import Labels, Longs

Codes = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Column:
    """One label name over S series."""

    values: tuple[str, ...]
    """Distinct values; values[0] is "" and stands for an absent label."""
    codes: Codes
    """S indexes into `values`."""


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Labels of S series, `__name__` included; columns are sorted by label name."""

    count: int
    columns: dict[str, Column]

    @classmethod
    def of(cls, series: Iterable[Labels]) -> LabelColumns:
        """From label sets; the one place that loops over labels."""
        names: dict[str, tuple[dict[str, int], list[int]]] = {}
        count = 0
        for labels in series:
            for name, value in labels:
                found = names.get(name)
                if found is None:
                    found = names[name] = ({"": 0}, [])
                dictionary, codes = found
                codes.extend([0] * (count - len(codes)))
                codes.append(dictionary.setdefault(value, len(dictionary)))
            count += 1
        columns: dict[str, Column] = {}
        for name in sorted(names):
            dictionary, codes = names[name]
            codes.extend([0] * (count - len(codes)))
            columns[name] = Column(tuple(dictionary), np.array(codes, np.uint32))
        return cls(count, columns)

    def labels(self, ordinals: Longs) -> list[Labels]:
        """The label sets of some series, each sorted by name."""
        picked = []
        for name, column in self.columns.items():
            pairs: list[tuple[str, str] | None] = [None, *((name, value) for value in column.values[1:])]
            picked.append([pairs[code] for code in column.codes[ordinals].tolist()])
        if not picked:
            return [()] * len(ordinals)
        return [tuple(pair for pair in row if pair is not None) for row in zip(*picked, strict=True)]

    @property
    def size_bytes(self) -> int:
        """About what this takes in memory."""
        return sum(column.codes.nbytes + 80 * len(column.values) for column in self.columns.values()) + 200


def concatenate(parts: Sequence[tuple[LabelColumns, Longs]]) -> LabelColumns:
    """Chosen series of several tables, one after the other; dictionaries hold only values that occur, sorted."""
    names = sorted({name for labels, _ in parts for name in labels.columns})
    sizes = [len(ordinals) for _, ordinals in parts]
    columns: dict[str, Column] = {}
    for name in names:
        column = _concatenate_column(name, parts, sizes)
        if len(column.values) > 1:
            columns[name] = column
    return LabelColumns(sum(sizes), columns)


def _concatenate_column(name: str, parts: Sequence[tuple[LabelColumns, Longs]], sizes: Sequence[int]) -> Column:
    """One dictionary for all parts: their dictionaries one after the other, then cut down to what occurs."""
    joined: list[str] = []
    pieces: list[Longs] = []
    for (labels, ordinals), size in zip(parts, sizes, strict=True):
        column = labels.columns.get(name, _ABSENT)
        codes = column.codes[ordinals] if column is not _ABSENT else np.zeros(size, np.int64)
        pieces.append(codes.astype(np.int64) + len(joined))
        joined += column.values
    flat = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
    seen = np.zeros(len(joined), np.bool_)
    seen[flat] = True
    used = np.flatnonzero(seen).tolist()
    order = sorted({"", *(joined[code] for code in used)})
    rank = {value: index for index, value in enumerate(order)}
    lookup = np.zeros(len(joined), np.uint32)
    lookup[used] = [rank[joined[code]] for code in used]
    return Column(tuple(order), lookup[flat])


_ABSENT: Final = Column(("",), np.zeros(0, np.uint32))
