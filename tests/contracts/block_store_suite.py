"""What every block store must do; a test class per adapter inherits this and gives the `store` fixture."""

from __future__ import annotations

import threading
from typing import Protocol

import pytest

from tsdb.errors import CorruptBlockError, StoreUnavailableError
from tsdb.port import (
    WINDOWS_PER_DAY,
    Absorbed,
    BlockAudit,
    BlockStore,
    CatalogEntry,
    DayFlush,
    DirectoryEntry,
    FlushRecord,
    L0Row,
    Manifest,
    MergedWindow,
    NewSet,
    OffsetRange,
    RetiredDayError,
    RowRecord,
    Source,
    Version,
)

DAY = 20_800
WINDOW = DAY * WINDOWS_PER_DAY
SET = NewSet("default", b"h" * 16, b"set blob", ("cpu", "mem"))


class AuditedStore(BlockStore, BlockAudit, Protocol):
    """Everything that the contract asks of an adapter."""


def entry(metric: str, bucket: str = "s/0", shards: int = 1) -> CatalogEntry:
    return CatalogEntry(metric, bucket, shards, "gauge", "1", "help", "")


def source(first: int = 0, following: int = 10, writer: str = "w") -> Source:
    return Source("log", (OffsetRange(0, first, following), OffsetRange(2, 5, 2**63)), writer)


def row(window: int = WINDOW, bucket: str = "s/0", block: bytes = b"block", tenant: str = "default") -> L0Row:
    return L0Row(tenant, bucket, window, SET.hash, block, 3, 2**64 - 1)


def flush(*rows: L0Row, of: Source | None = None, sets: tuple[NewSet, ...] = (SET,), day: int = DAY) -> DayFlush:
    directory = (DirectoryEntry("default", "job", "x", "cpu"),)
    return DayFlush(day, of or source(), sets, directory, rows, frozenset({r.set_hash for r in rows}))


class BlockStoreSuite:
    """Rows, sets, catalog, manifests, flush records, retirement."""

    def test_an_empty_store_answers_with_nothing(self, store: AuditedStore) -> None:
        assert list(store.days()) == []
        assert list(store.catalog("default", DAY, None)) == []
        assert list(store.rows("default", DAY, ["s/0"], 0, WINDOW)) == []
        assert list(store.set_hashes("default", DAY, ["cpu"])) == []
        assert list(store.manifests("default", DAY, ["cpu"])) == []
        assert list(store.flush_records(DAY)) == []
        assert list(store.days()) == []

    def test_rows_come_back_as_written(self, store: AuditedStore) -> None:
        store.write(flush(row(), row(WINDOW + 1), row(bucket="s/1"), row(tenant="other")))
        (found,) = store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)
        assert (found.window, found.source, found.set_hash, found.block) == (WINDOW, source(), SET.hash, b"block")
        assert len(store.rows("default", DAY, ["s/0", "s/1"], WINDOW, WINDOW + 1)) == 3
        assert len(store.rows("other", DAY, ["s/0"], WINDOW, WINDOW + 9)) == 1
        assert list(store.days()) == [DAY]

    def test_a_row_is_written_once(self, store: AuditedStore) -> None:
        store.write(flush(row(block=b"first")))
        store.write(flush(row(block=b"second")))
        assert [found.block for found in store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)] == [b"first"]

    @pytest.mark.parametrize("other", [source(writer="z"), source(0, 11), source(1, 10)])
    def test_rows_of_other_writers_and_cuts_stand_beside(self, store: AuditedStore, other: Source) -> None:
        store.write(flush(row()))
        store.write(flush(row(), of=other))
        assert {found.source for found in store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)} == {source(), other}

    def test_many_buckets_are_read_at_once(self, store: AuditedStore) -> None:
        buckets = [f"m/{i}" for i in range(1500)]
        store.write(flush(*(row(bucket=bucket) for bucket in buckets)))
        assert len(store.rows("default", DAY, buckets, WINDOW, WINDOW)) == 1500

    def test_sets_are_found_by_hash_and_by_metric(self, store: AuditedStore) -> None:
        store.write(flush(row()))
        store.write(flush(row(), of=source(10, 20), sets=()))
        assert store.series_set(DAY, SET.hash) == SET.blob
        assert list(store.set_hashes("default", DAY, ["mem", "cpu"])) == [SET.hash]
        assert list(store.set_hashes("other", DAY, ["mem"])) == []

    def test_rows_without_their_set_are_refused_whole(self, store: AuditedStore) -> None:
        with pytest.raises(StoreUnavailableError):
            store.write(flush(row(), sets=()))
        assert list(store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == []

    def test_a_missing_set_is_an_error_never_silence(self, store: AuditedStore) -> None:
        with pytest.raises(CorruptBlockError):
            store.series_set(DAY, b"x" * 16)

    def test_the_first_claim_holds(self, store: AuditedStore) -> None:
        assert store.claim("default", DAY, [entry("cpu"), entry("mem")]) == {"cpu": entry("cpu"), "mem": entry("mem")}
        second = store.claim("default", DAY, [entry("cpu", "m/cpu", 9), entry("net")])
        assert second == {"cpu": entry("cpu"), "net": entry("net")}
        assert {e.metric for e in store.catalog("default", DAY, None)} == {"cpu", "mem", "net"}
        assert list(store.catalog("default", DAY, ["mem", "none"])) == [entry("mem")]
        assert list(store.catalog("other", DAY, None)) == []
        assert store.claim("default", DAY + 1, [entry("cpu", "s/9")])["cpu"].bucket == "s/9"

    def test_racing_claims_agree(self, store: AuditedStore) -> None:
        answers: list[str] = []

        def claim(bucket: str) -> None:
            answers.append(store.claim("default", DAY, [entry("cpu", bucket)])["cpu"].bucket)

        threads = [threading.Thread(target=claim, args=(f"s/{i}",)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 6
        assert len(set(answers)) == 1

    def test_the_directory_names_metrics_by_label(self, store: AuditedStore) -> None:
        store.write(flush(row()))
        assert list(store.metrics_with("default", DAY, "job", "x")) == ["cpu"]
        assert list(store.metrics_with("default", DAY, "job", "y")) == []
        assert list(store.metrics_with("other", DAY, "job", "x")) == []

    def test_a_manifest_changes_by_compare_and_set(self, store: AuditedStore) -> None:
        first = manifest(1, "v1")
        assert store.merge(first, {"v1": b"merged"}, [SET])
        assert list(store.manifests("default", DAY, ["cpu", "mem"])) == [first]
        assert not store.merge(manifest(1, "v2"), {"v2": b"late"}, [])
        assert not store.merge(manifest(3, "v3"), {"v3": b"early"}, [])
        second = manifest(2, "v4")
        assert store.merge(second, {"v4": b"again"}, [])
        assert list(store.manifests("default", DAY, ["cpu"])) == [second]
        assert store.merged("default", DAY, ["v1", "v4"]) == {"v1": b"merged", "v4": b"again"}
        assert store.series_set(DAY, SET.hash) == SET.blob

    def test_a_merged_row_that_is_missing_is_an_error(self, store: AuditedStore) -> None:
        assert store.merge(manifest(1, "v1"), {"v1": b"merged"}, [SET])
        with pytest.raises(CorruptBlockError):
            store.merged("default", DAY, ["v1", "nothing"])

    def test_flush_records_come_back(self, store: AuditedStore) -> None:
        record = FlushRecord(source(), (RowRecord("default", "s/0", WINDOW, 3, 2**64 - 1),))
        store.record(DAY, record)
        store.record(DAY, record)
        store.record(DAY, FlushRecord(source(10, 11), ()))
        assert list(store.flush_records(DAY)) == [record, FlushRecord(source(10, 11), ())]

    def test_a_retired_day_is_gone_and_refused(self, store: AuditedStore) -> None:
        store.write(flush(row()))
        store.write(flush(row((DAY + 1) * WINDOWS_PER_DAY), day=DAY + 1))
        store.retire(DAY)
        store.retire(DAY)
        assert list(store.days()) == [DAY + 1]
        assert list(store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == []
        with pytest.raises(RetiredDayError) as refused:
            store.write(flush(row()))
        assert refused.value.day == DAY
        with pytest.raises(RetiredDayError):
            store.claim("default", DAY, [entry("cpu")])

    def test_closing_twice_is_fine(self, store: AuditedStore) -> None:
        store.write(flush(row()))
        store.close()
        store.close()


def manifest(generation: int, version: str) -> Manifest:
    held = MergedWindow(version, (Absorbed("log", 0, 0, 10), Absorbed("log", 2, 5, 2**63)))
    return Manifest(
        "default",
        DAY,
        "cpu",
        0,
        generation,
        (Version(version, SET.hash, 3, 2**32 - 1),),
        {WINDOW: held, WINDOW + 1: held},
    )
