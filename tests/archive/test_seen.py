from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archive.seen import SeenBatches
from bus.port import Record


def record(producer: int, sequence: int) -> Record:
    headers = (("hg.producer_id", bytes([producer]) * 16), ("hg.sequence", sequence.to_bytes(8, "big")))
    return Record("t", 0, 0, 0, headers, b"")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30))))
def test_each_batch_is_new_once(batches: list[tuple[int, int]]) -> None:
    seen = SeenBatches()
    known: set[tuple[int, int]] = set()
    for batch in batches:
        assert seen.add(record(*batch)) == (batch not in known)
        known.add(batch)


def test_a_record_without_an_identity_is_always_new() -> None:
    seen = SeenBatches()
    bare = Record("t", 0, 0, 0, (), b"")
    assert seen.add(bare)
    assert seen.add(bare)
