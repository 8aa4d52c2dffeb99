"""Fencing and sessions of the embedded bus, with a clock that the test turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.errors import FencedError
from bus.port import Listener, Partitions, TopicPartition
from bus.sqlite import SqliteBus
from bus.sqlite_consumer import SqliteConsumer
from heliograph.message import Message

_T0 = TopicPartition("t", 0)


class _Group:
    """Members of one group over one log, each with what it owns."""

    def __init__(self, path: Path) -> None:
        self.now_ms = 10**12
        self.bus = SqliteBus(path, clock_ms=lambda: self.now_ms, session_timeout_s=15.0)
        self.bus.create_topics({"t": 1})
        self.bus.produce([Message("t", 0, (), b"x"), Message("t", 0, (), b"y")])
        self.owned: dict[str, set[TopicPartition]] = {}

    def join(self, member: str) -> SqliteConsumer:
        owned = self.owned.setdefault(member, set())
        return self.bus.consumer("g", ["t"], member, Listener(owned.update, owned.difference_update))

    def pass_s(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


@pytest.fixture
def group(tmp_path: Path) -> _Group:
    return _Group(tmp_path / "bus.db")


def test_a_member_that_polls_stays(group: _Group) -> None:
    a, b = group.join("a"), group.join("b")
    for _ in range(20):
        group.pass_s(10)
        a.poll(0, 1)
        b.poll(0, 1)
    assert group.owned == {"a": {_T0}, "b": set()}


def test_a_silent_member_goes_after_the_session_timeout_not_before(group: _Group) -> None:
    a, b = group.join("a"), group.join("b")
    a.poll(0, 1)
    group.pass_s(14)
    assert list(b.poll(0, 1)) == []
    group.pass_s(4)
    assert [r.body for r in b.poll(0, 1)] == [b"x"]


def test_who_lost_a_partition_for_a_moment_only_is_fenced(group: _Group) -> None:
    a = group.join("a")
    a.poll(0, 1)
    group.pass_s(30)
    b = group.join("b")
    b.poll(0, 1)
    b.commit({_T0: 2})
    c = group.join("a")
    b.close()
    c.poll(0, 1)
    assert _T0 in group.owned["a"]
    with pytest.raises(FencedError):
        a.commit({_T0: 1})
    assert group.bus.committed("g", "t") == {0: 2}


def test_an_expired_member_that_nobody_replaced_comes_back_and_reads_again(group: _Group) -> None:
    a, b = group.join("a"), group.join("b")
    assert [r.body for r in a.poll(0, 1)] == [b"x"]
    group.pass_s(30)
    b.poll(0, 1)
    b.close()
    assert [r.body for r in a.poll(0, 1)] == [b"x"]
    a.commit({_T0: 1})


def test_a_rebalance_elsewhere_does_not_fence_what_is_kept(group: _Group) -> None:
    a = group.join("a")
    a.poll(0, 1)
    b = group.join("b")
    b.close()
    a.commit({_T0: 1})
    assert group.bus.committed("g", "t") == {0: 1}


def test_a_commit_of_several_is_all_or_none(group: _Group) -> None:
    a = group.join("a")
    a.poll(0, 1)
    with pytest.raises(FencedError):
        a.commit({_T0: 1, TopicPartition("t", 7): 1})
    assert group.bus.committed("g", "t") == {}


def test_a_partition_that_comes_back_is_not_paused_any_more(group: _Group) -> None:
    a = group.join("a")
    a.poll(0, 1)
    a.pause([_T0])
    group.pass_s(30)
    b = group.join("b")
    assert list(a.poll(0, 1)) == []
    b.close()
    assert [r.body for r in a.poll(0, 1)] == [b"x"]


def test_a_clock_set_back_does_not_keep_the_dead_alive(group: _Group) -> None:
    group.join("a").poll(0, 1)
    group.pass_s(-3600)
    assert [r.body for r in group.join("b").poll(0, 1)] == [b"x"]


def test_a_listener_that_fails_is_asked_again_before_anything_is_delivered(group: _Group) -> None:
    told: list[Partitions] = []

    def assigned(partitions: Partitions) -> None:
        told.append(partitions)
        if len(told) == 1:
            raise RuntimeError("the store is away")

    consumer = group.bus.consumer("g", ["t"], "a", Listener(assigned, lambda _: None))
    with pytest.raises(RuntimeError, match="away"):
        consumer.poll(0, 1)
    assert [r.body for r in consumer.poll(0, 1)] == [b"x"]
    assert told == [frozenset({_T0})] * 2
