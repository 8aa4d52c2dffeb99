"""Which batches have been met: an interval set of sequences per producer, so that memory goes with gaps, not with batches."""

from __future__ import annotations

from bisect import bisect_right

from bus.port import Record


class SeenBatches:
    """Recognises a batch that comes again; a record without an identity is always new."""

    def __init__(self) -> None:
        self._intervals: dict[bytes, tuple[list[int], list[int]]] = {}

    def add(self, record: Record) -> bool:
        """Whether the record's batch is new; from now on it is not."""
        producer_id, sequence = record.header("hg.producer_id"), record.header("hg.sequence")
        if producer_id is None or sequence is None:
            return True
        firsts, nexts = self._intervals.setdefault(producer_id, ([], []))
        return _insert(firsts, nexts, int.from_bytes(sequence, "big"))


def _insert(firsts: list[int], nexts: list[int], value: int) -> bool:
    """Put a number into sorted, disjoint intervals [first, next); whether it was not in them."""
    i = bisect_right(firsts, value)
    if i and value < nexts[i - 1]:
        return False
    joins_left = i > 0 and nexts[i - 1] == value
    joins_right = i < len(firsts) and firsts[i] == value + 1
    if joins_left and joins_right:
        nexts[i - 1] = nexts[i]
        del firsts[i], nexts[i]
    elif joins_left:
        nexts[i - 1] = value + 1
    elif joins_right:
        firsts[i] = value
    else:
        firsts.insert(i, value)
        nexts.insert(i, value + 1)
    return True
