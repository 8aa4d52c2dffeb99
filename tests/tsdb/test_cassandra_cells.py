"""The bytes in Cassandra's cells and keys: they come back, damage is noticed, and slots never move."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.block_store_suite import WINDOW, manifest, row, source
from tsdb.cassandra_cells import (
    SET_PART_BYTES,
    decode_directory,
    decode_flush,
    decode_manifest,
    decode_merged,
    decode_names,
    decode_ranges,
    decode_row,
    decode_set,
    encode_directory,
    encode_flush,
    encode_manifest,
    encode_merged,
    encode_names,
    encode_ranges,
    encode_row,
    encode_set,
    label_slot,
    slot_of,
)
from tsdb.cassandra_known import Known
from tsdb.cassandra_settings import CassandraSettings
from tsdb.errors import CorruptBlockError
from tsdb.port import DirectoryEntry, FlushRecord, OffsetRange, RowRecord

RANGES = st.lists(
    st.builds(OffsetRange, st.integers(0, 2**32 - 1), st.integers(0, 2**63), st.integers(0, 2**64 - 1)), max_size=5
)
LABELS = st.dictionaries(st.tuples(st.text(max_size=5), st.text(max_size=5)), st.sets(st.text(max_size=5), min_size=1))


def test_slots_are_where_stored_rows_are() -> None:
    assert (slot_of("cpu"), slot_of(""), slot_of("é"), label_slot("job", "x")) == (46, 0, 62, 36)


@given(RANGES)
def test_ranges_come_back_sorted(ranges: list[OffsetRange]) -> None:
    assert decode_ranges(encode_ranges(ranges)) == tuple(sorted(ranges))


def test_a_row_comes_back_with_what_the_flush_said_of_it() -> None:
    found = decode_row(WINDOW, source(), encode_row(row(block=b"abc")))
    assert (found.window, found.source, found.set_hash, found.block) == (WINDOW, source(), b"h" * 16, b"abc")
    with pytest.raises(CorruptBlockError):
        decode_row(WINDOW, source(), b"short")


@pytest.mark.parametrize("size", [0, 1, SET_PART_BYTES, SET_PART_BYTES + 1, 3 * SET_PART_BYTES])
def test_a_set_is_whole_or_not_there(size: int) -> None:
    blob = os.urandom(size)
    parts = dict(enumerate(encode_set(blob)))
    assert len(parts) == max(1, -(-size // SET_PART_BYTES))
    assert decode_set(parts) == blob
    for lost in parts:
        assert decode_set({part: cell for part, cell in parts.items() if part != lost}) is None
    assert decode_set({}) is None
    if size:
        assert decode_set(parts | {0: parts[0][:-1] + bytes([parts[0][-1] ^ 1])}) is None


@given(st.binary())
def test_a_merged_block_comes_back_or_is_damaged(block: bytes) -> None:
    cell = encode_merged(block)
    assert decode_merged(cell) == block
    assert decode_merged(cell + b"x") is None
    assert decode_merged(cell[:3]) is None


@given(LABELS)
def test_every_label_is_found_with_its_metrics(labels: dict[tuple[str, str], set[str]]) -> None:
    rows = list(encode_directory(labels))
    assert len({key for key, _ in rows}) == len(rows)
    for (name, value), metrics in labels.items():
        found = [metric for _, data in rows for metric in decode_directory(data, name, value)]
        assert sorted(found) == sorted(metrics)
    assert all(decode_directory(data, "no such label", "") == [] for _, data in rows)


def test_a_large_directory_is_cut() -> None:
    labels = {("instance", f"i{i}"): {f"{'metric' * 10}_{k}" for k in range(5000)} for i in range(8)}
    rows = list(encode_directory(labels))
    assert len(rows) > 1
    found = [metric for _, data in rows for metric in decode_directory(data, "instance", "i3")]
    assert sorted(found) == sorted(labels["instance", "i3"])


def test_documents_come_back_and_damage_is_an_error() -> None:
    record = FlushRecord(source(), (RowRecord("t", "s/0", WINDOW, 3, 2**64 - 1),))
    assert decode_flush(source(), encode_flush(record)) == record
    assert decode_names(encode_names(["b", "a"])) == ["a", "b"]
    held = manifest(7, "v")
    data = encode_manifest(held)
    assert decode_manifest(held.tenant, held.day, held.metric, held.shard, 7, data) == held
    for damaged in (b"", data[:-1], data[:20], b"x" + data, zlib.compress(b"{")):
        with pytest.raises(CorruptBlockError):
            decode_manifest("t", 1, "m", 0, 7, damaged)


def test_labels_are_written_once_they_are_not_known_to_be_there() -> None:
    known = Known()
    entries = [DirectoryEntry("t", "job", "x", metric) for metric in ("a", "b", "a")]
    new = known.new_labels(1, entries)
    assert new == {("t", 1): {("job", "x"): {"a", "b"}}}
    assert known.new_labels(1, entries) == new
    known.add_labels(new)
    assert known.new_labels(1, [*entries, DirectoryEntry("t", "job", "x", "c")]) == {("t", 1): {("job", "x"): {"c"}}}
    assert known.new_labels(2, entries) == {("t", 2): {("job", "x"): {"a", "b"}}}
    known.forget()
    assert known.new_labels(1, entries) == new


def test_belief_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.cassandra_known._LABEL_ENTRIES_MAX", 100)
    known = Known()
    for i in range(250):
        known.add_labels(known.new_labels(1, [DirectoryEntry("t", "i", str(i), "m")]))
        assert sum(len(metrics) for labels in known._labels.values() for metrics in labels.values()) <= 101
    assert all(known.first_try(1, source(i, i + 1)) for i in range(2000))
    assert len(known._tried) <= 512
    assert not known.first_try(1, source(1999, 2000))


def test_settings_have_defaults_for_a_cluster_of_production() -> None:
    settings = CassandraSettings(("a",), datacenter="dc")
    assert (settings.port, settings.keyspace, settings.replication_factor) == (9042, "heliograph", 3)
