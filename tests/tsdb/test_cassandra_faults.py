"""What a node that dies, answers that are lost, and other processes do to the block store on Cassandra."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from tests.contracts.block_store_suite import DAY, SET, WINDOW, entry, flush, manifest, row, source
from tests.servers.cassandra import MUTATION_BYTES_MAX, Node, cassandra, start_cassandra
from tests.servers.maven import require_java
from tsdb import cassandra_session
from tsdb.cassandra import CassandraBlocks
from tsdb.cassandra_session import CassandraSession, Row
from tsdb.cassandra_settings import CassandraSettings
from tsdb.errors import RowTooLargeError, StoreUnavailableError
from tsdb.port import RetiredDayError


@pytest.fixture
def settings() -> CassandraSettings:
    return cassandra().settings()


@pytest.fixture
def store(settings: CassandraSettings) -> Iterator[CassandraBlocks]:
    blocks = CassandraBlocks(settings)
    yield blocks
    blocks.close()


@pytest.fixture
def other(settings: CassandraSettings) -> Iterator[CassandraBlocks]:
    """Another process' handle on the same keys."""
    blocks = CassandraBlocks(settings)
    yield blocks
    blocks.close()


@pytest.fixture(scope="module")
def mortal() -> Iterator[Node]:
    require_java(17)
    node = start_cassandra()
    yield node
    node.server.kill()


def test_what_was_acknowledged_before_the_node_was_killed_is_there_afterwards(mortal: Node) -> None:
    blocks = CassandraBlocks(mortal.settings(request_timeout_s=5.0))
    acknowledged: list[int] = []
    failed: list[StoreUnavailableError] = []

    def fill() -> None:
        try:
            for i in range(100_000):
                rows = [row(bucket=f"s/{k}", block=bytes([i % 256]) * 5000) for k in range(20)]
                blocks.write(flush(*rows, of=source(i, i + 1)))
                acknowledged.append(i)
        except StoreUnavailableError as error:
            failed.append(error)

    blocks.check()
    writer = threading.Thread(target=fill)
    writer.start()
    while len(acknowledged) < 20 and writer.is_alive():
        writer.join(0.01)
    mortal.server.kill()
    writer.join(60)
    assert len(failed) == 1
    with pytest.raises(StoreUnavailableError):
        blocks.write(flush(row(), of=source(10**6, 10**6 + 1)))
    mortal.server.start()
    _until_it_answers(blocks)
    last = acknowledged[-1] + 1
    rows = [row(bucket=f"s/{k}", block=bytes([last % 256]) * 5000) for k in range(20)]
    blocks.write(flush(*rows, of=source(last, last + 1)))
    found = blocks.rows("default", DAY, [f"s/{k}" for k in range(20)], WINDOW, WINDOW)
    by_flush: dict[int, list[bytes]] = {}
    for stored in found:
        by_flush.setdefault(stored.source.ranges[0].first, []).append(stored.block)
    assert by_flush.keys() == {*acknowledged, last}
    assert all(blocks_ == [bytes([i % 256]) * 5000] * 20 for i, blocks_ in by_flush.items())
    blocks.close()


def test_a_node_that_is_away_at_first_is_waited_for(mortal: Node) -> None:
    blocks = CassandraBlocks(mortal.settings(connect_timeout_s=2.0))
    mortal.server.kill()
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        blocks.check()
    with pytest.raises(StoreUnavailableError):
        blocks.days()
    mortal.server.start()
    blocks.write(flush(row()))
    assert list(blocks.days()) == [DAY]
    blocks.close()


_WRITER = """
import sys
from tests.contracts.block_store_suite import flush, row, source
from tsdb.cassandra import CassandraBlocks
from tsdb.cassandra_settings import CassandraSettings
blocks = CassandraBlocks(CassandraSettings((sys.argv[1],), int(sys.argv[2]), sys.argv[3], sys.argv[4], 1, space=sys.argv[5]))
for i in range(100_000):
    blocks.write(flush(*(row(bucket=f"s/{k}", block=bytes([i % 256]) * 5000) for k in range(20)), of=source(i, i + 1)))
    print(i, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 25])
def test_what_a_killed_writer_acknowledged_is_there(
    store: CassandraBlocks, settings: CassandraSettings, acknowledged: int
) -> None:
    store.check()
    where = [settings.hosts[0], str(settings.port), settings.datacenter, settings.keyspace, settings.space]
    with subprocess.Popen([sys.executable, "-c", _WRITER, *where], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(acknowledged):
            assert child.stdout.readline()
        child.kill()
    found = store.rows("default", DAY, [f"s/{k}" for k in range(20)], WINDOW, WINDOW)
    whole = [(stored.source.ranges[0].first, stored.block) for stored in found]
    assert {first for first, _ in whole} >= set(range(acknowledged))
    assert all(sum(first == i for first, _ in whole) == 20 for i in range(acknowledged))
    assert all(block == bytes([first % 256]) * 5000 for first, block in whole)


def test_racing_claims_of_many_metrics_agree(settings: CassandraSettings) -> None:
    stores = [CassandraBlocks(settings) for _ in range(4)]
    answers: list[dict[str, str]] = []

    def claim(number: int) -> None:
        entries = [entry(f"m{(i + 37 * number) % 150}", f"s/{number}") for i in range(150)]
        answers.append({m: e.bucket for m, e in stores[number].claim("default", DAY, entries).items()})

    _at_once([lambda n=n: claim(n) for n in range(4)])  # type: ignore[misc]
    assert len(answers) == 4
    assert len(answers[0]) == 150
    held = {e.metric: e.bucket for e in stores[0].catalog("default", DAY, None)}
    assert all(answer.items() <= held.items() for answer in answers)
    for store in stores:
        store.close()


def test_of_racing_mergers_one_is_first_at_each_generation(settings: CassandraSettings) -> None:
    stores = [CassandraBlocks(settings) for _ in range(3)]
    won: list[tuple[int, str]] = []

    def merge(number: int) -> None:
        for generation in range(1, 6):
            version = f"v{generation}-{number}"
            if stores[number].merge(manifest(generation, version), {version: version.encode()}, [SET]):
                won.append((generation, version))

    _at_once([lambda n=n: merge(n) for n in range(3)])  # type: ignore[misc]
    reached = len(won)
    assert sorted(generation for generation, _ in won) == list(range(1, reached + 1))
    (held,) = stores[0].manifests("default", DAY, ["cpu"])
    assert held == manifest(reached, dict(won)[reached])
    assert stores[0].merged("default", DAY, [dict(won)[reached]]).keys() == {dict(won)[reached]}
    for store in stores:
        store.close()


class LostAnswers:
    """Of changes: the first `count` are made, or not, and nobody knows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, made: bool, count: int) -> None:
        self.left = count
        self._made = made
        self._change = CassandraSession.change
        monkeypatch.setattr(CassandraSession, "change", lambda session, *args: self.change(session, *args))

    def change(self, session: CassandraSession, changes: Sequence[tuple[str, Row]], doing: str) -> bool | None:
        if self.left == 0:
            return self._change(session, changes, doing)
        self.left -= 1
        if self._made:
            self._change(session, changes, doing)
        return None


@pytest.mark.parametrize("made", [True, False])
def test_a_claim_whose_answer_is_lost_is_read_before_anything_is_concluded(
    store: CassandraBlocks, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    lost = LostAnswers(monkeypatch, made, 2)
    assert store.claim("default", DAY, [entry("cpu"), entry("mem")]) == {"cpu": entry("cpu"), "mem": entry("mem")}
    assert lost.left == (1 if made else 0)
    assert store.claim("default", DAY, [entry("cpu", "s/9")]) == {"cpu": entry("cpu")}


@pytest.mark.parametrize("made", [True, False])
def test_a_merge_whose_answer_is_lost_is_what_it_came_to(
    store: CassandraBlocks, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    LostAnswers(monkeypatch, made, 1)
    assert store.merge(manifest(1, "v1"), {"v1": b"one"}, [SET])
    assert list(store.manifests("default", DAY, ["cpu"])) == [manifest(1, "v1")]
    # The caller that never heard of it comes again.
    assert store.merge(manifest(1, "v1"), {"v1": b"one"}, [SET])
    assert not store.merge(manifest(1, "v2"), {"v2": b"two"}, [SET])


@pytest.mark.parametrize("made", [True, False])
def test_a_day_is_retired_although_the_answer_is_lost(
    store: CassandraBlocks, other: CassandraBlocks, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    store.write(flush(row()))
    LostAnswers(monkeypatch, made, 1)
    store.retire(DAY)
    assert list(other.days()) == []


def test_changes_that_nobody_ever_decides_are_unavailable(
    store: CassandraBlocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    LostAnswers(monkeypatch, made=False, count=1000)
    with pytest.raises(StoreUnavailableError):
        store.claim("default", DAY, [entry("cpu")])
    with pytest.raises(StoreUnavailableError):
        store.merge(manifest(1, "v1"), {"v1": b"one"}, [SET])
    with pytest.raises(StoreUnavailableError):
        store.retire(DAY)


def test_another_process_meets_the_mark_of_a_retired_day_in_bounded_time(
    store: CassandraBlocks, settings: CassandraSettings
) -> None:
    now = 0.0
    late = CassandraBlocks(settings, lambda: now)
    late.write(flush(row()))
    store.retire(DAY)
    now = settings.recheck_s
    for refused in (
        lambda: late.write(flush(row(), of=source(10, 20))),
        lambda: late.claim("default", DAY, [entry("cpu")]),
        lambda: late.merge(manifest(1, "v1"), {"v1": b"one"}, []),
    ):
        with pytest.raises(RetiredDayError):
            refused()
    assert list(late.catalog("default", DAY, None)) == []
    assert list(late.set_hashes("default", DAY, ["cpu"])) == []
    late.close()


def test_a_row_over_the_servers_limit_is_an_error_that_names_it_and_nothing_is_written(store: CassandraBlocks) -> None:
    large = row(bucket="s/large", block=os.urandom(MUTATION_BYTES_MAX))
    with pytest.raises(RowTooLargeError, match=r"bucket s/large .* cut the log's range shorter") as refused:
        store.write(flush(row(), large))
    assert refused.value.bytes_max < MUTATION_BYTES_MAX <= refused.value.size_bytes
    assert list(store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == []
    fits = os.urandom(refused.value.bytes_max)
    store.write(flush(row(bucket="s/large", block=fits)))
    assert [found.block for found in store.rows("default", DAY, ["s/large"], WINDOW, WINDOW)] == [fits]
    with pytest.raises(RowTooLargeError):
        store.merge(manifest(1, "v1"), {"v1": large.block}, [SET])


def test_a_large_set_is_cut_and_comes_back_whole(store: CassandraBlocks, other: CassandraBlocks) -> None:
    blob = os.urandom(5 * 1024 * 1024)
    store.write(flush(row(), sets=(replace(SET, blob=blob),)))
    assert other.series_set(DAY, SET.hash) == blob


@pytest.mark.parametrize(("requests", "bytes_"), [(1, 1 << 20), (64, 12_000), (64, 1)])
def test_what_is_in_flight_is_bounded(
    settings: CassandraSettings, monkeypatch: pytest.MonkeyPatch, requests: int, bytes_: int
) -> None:
    most = [0, 0]
    settled = cassandra_session._settled

    def watched(waiting: object) -> int:
        assert hasattr(waiting, "__iter__")
        sizes = [size for _, size in waiting]
        most[:] = max(most[0], len(sizes)), max(most[1], sum(sizes))
        return settled(waiting)  # type: ignore[arg-type]

    monkeypatch.setattr(cassandra_session, "_settled", watched)
    store = CassandraBlocks(replace(settings, in_flight_max=requests, in_flight_bytes_max=bytes_))
    store.write(flush(*(row(bucket=f"s/{k}", block=bytes(5000)) for k in range(30))))
    assert len(store.rows("default", DAY, [f"s/{k}" for k in range(30)], WINDOW, WINDOW)) == 30
    assert most[0] <= requests
    assert most[1] <= max(bytes_, 6000)
    store.close()


def test_rows_of_flushes_of_any_size_are_found_once(store: CassandraBlocks, other: CassandraBlocks) -> None:
    buckets = [f"s/{k}" for k in range(40)]
    rows = [row(bucket=bucket) for bucket in buckets]
    store.write(flush(*rows[:3]))
    # Another handle does not know that some of it was tried, and spreads it wider.
    other.write(flush(*rows))
    store.write(flush(rows[0], of=source(10, 20)))
    for reader in (store, other):
        found = reader.rows("default", DAY, buckets, WINDOW, WINDOW)
        assert sorted(stored.source.ranges[0].first for stored in found) == [0] * 40 + [10]
        assert len(reader.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 2
        assert len(reader.rows("default", DAY, ["s/39"], WINDOW - 1, WINDOW + 1)) == 1


def test_a_query_of_too_many_bytes_is_refused(settings: CassandraSettings) -> None:
    store = CassandraBlocks(replace(settings, read_bytes_max=10_000))
    store.write(flush(*(row(bucket=f"s/{k}", block=bytes(6000)) for k in range(2))))
    assert len(store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 1
    with pytest.raises(StoreUnavailableError, match="ask for less"):
        store.rows("default", DAY, ["s/0", "s/1"], WINDOW, WINDOW)
    store.close()


def _at_once(acts: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _until_it_answers(blocks: CassandraBlocks) -> None:
    """The driver tries again after a while of its own choosing."""
    deadline = threading.Event()
    timer = threading.Timer(30.0, deadline.set)
    timer.start()
    while not deadline.wait(0.1):
        try:
            blocks.days()
        except StoreUnavailableError:
            continue
        break
    timer.cancel()
