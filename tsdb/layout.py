"""A layout as the store knows it: which series a metric message holds, as columns, learnt once per layout."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .errors import RecordError
from .label_columns import LabelColumns
from .samples import Labels

Ids = npt.NDArray[np.uint8]
_NAME: Final = "__name__"
_SEPARATOR: Final = b"\xff"  # never occurs in UTF-8


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a layout: its series are a run [first, next)."""

    name: str
    kind: str
    unit: str
    help: str
    family: str
    first: int
    next: int


@dataclass(frozen=True, slots=True, eq=False)
class KnownLayout:
    """Series in their order on the wire. Compared by identity: `serial` is unique in a process and grows."""

    serial: int
    hash: bytes
    tail_bytes: int
    """Length of the encoded `series` field."""
    ids: Ids
    """S × 16: the 128-bit hash of each label set."""
    shard_hashes: npt.NDArray[np.uint32]
    """S: hash of the labels without `le`, which a metric's shards are taken from."""
    labels: LabelColumns
    metrics: tuple[Metric, ...]

    @property
    def order(self) -> tuple[bytes, int]:
        """What layouts are sorted by: by content first, so that a restarted writer finds the same order."""
        return self.hash, self.serial

    @property
    def count(self) -> int:
        """Number of series."""
        return len(self.ids)

    @property
    def size_bytes(self) -> int:
        """About what this takes in memory."""
        return self.ids.nbytes + self.shard_hashes.nbytes + self.labels.size_bytes + 300 * len(self.metrics) + 500


def learn(serial: int, layout_hash: bytes, tail_bytes: int, series: Sequence[Mapping[str, Any]]) -> KnownLayout:
    """From the decoded `series` field. Raises RecordError("bad_record") when series are not sorted, distinct and complete."""
    names = [entry["name"] for entry in series]
    own = [tuple((label["key"], label["value"]) for label in entry["labels"]) for entry in series]
    for earlier, later in itertools.pairwise(zip(names, own, strict=True)):
        if earlier >= later:
            raise RecordError("bad_record", f"series of {later[0]!r} are not distinct and sorted by name, then labels")
    return learn_labels(serial, layout_hash, tail_bytes, names, own, _metrics(names, series))


def learn_labels(
    serial: int,
    layout_hash: bytes,
    tail_bytes: int,
    names: Sequence[str],
    own: Sequence[Labels],
    metrics: tuple[Metric, ...],
) -> KnownLayout:
    """From metric names and the other labels of each series; raises RecordError("bad_record")."""
    for name, labels in zip(names, own, strict=True):
        keys = [key for key, _ in labels]
        if not name or any(a >= b for a, b in itertools.pairwise(keys)):
            raise RecordError("bad_record", f"labels of {name!r} are not distinct and sorted by key")
        if _NAME in keys or not all(key and value for key, value in labels):
            raise RecordError("bad_record", f"an empty label, or a label {_NAME}, in {name!r}")
    whole = [with_name(name, labels) for name, labels in zip(names, own, strict=True)]
    ids = list(map(series_id, whole))
    shards = list(map(shard_hash, whole, ids))
    columns = LabelColumns.of(whole)
    return KnownLayout(
        serial,
        layout_hash,
        tail_bytes,
        np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16),
        np.array(shards, np.uint32),
        columns,
        metrics,
    )


def with_name(name: str, labels: Labels) -> Labels:
    """The labels with `__name__` in its sorted place."""
    if not labels or labels[0][0] > _NAME:
        return ((_NAME, name), *labels)
    return tuple(sorted(((_NAME, name), *labels)))


def series_id(labels: Labels) -> bytes:
    """128-bit hash of a label set, `__name__` included: the series' identity in the store."""
    texts = [text.encode() for pair in labels for text in pair]
    return hashlib.blake2b(_SEPARATOR.join(texts), digest_size=16).digest()


def shard_hash(labels: Labels, own_id: bytes) -> int:
    """32 bits of the id that the labels without `le` have, so that the buckets of a histogram stay together."""
    if any(key == "le" for key, _ in labels):
        own_id = series_id(tuple(pair for pair in labels if pair[0] != "le"))
    return int.from_bytes(own_id[:4], "little")


def _metrics(names: Sequence[str], series: Sequence[Mapping[str, Any]]) -> tuple[Metric, ...]:
    metrics: list[Metric] = []
    first = 0
    for name, run in itertools.groupby(names):
        following = first + sum(1 for _ in run)
        entry = series[first]
        metrics.append(Metric(name, entry["kind"], entry["unit"], entry["help"], entry["family"], first, following))
        first = following
    return tuple(metrics)
