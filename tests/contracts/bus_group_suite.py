"""What every bus must do for a group of consumers; used as bus_suite is."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bus.errors import FencedError
from bus.port import Bus, Consumer, Record
from tests.bus.child import Child
from tests.contracts.bus_adapter import (
    DEADLINE_S,
    PLENTY,
    BusAdapter,
    BusFixtures,
    Watch,
    bodies,
    commit_all,
    drain,
    message,
    poll_until,
)


class BusGroupSuite(BusFixtures):
    """Several members: shares, takeover, fencing."""

    def test_two_members_share_the_partitions(self, bus: Bus, four: str, join: Callable[..., Consumer]) -> None:
        left, right = Watch(), Watch()
        a, b = join(four, "a", watch=left), join(four, "b", watch=right)
        poll_until(lambda: len(left.owned) == 2 == len(right.owned), a, b)
        assert not left.owned & right.owned
        bus.produce([message(four, i % 4, f"{i}") for i in range(16)])
        seen: list[Record] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(seen) < 16 and time.monotonic() < deadline:
            seen += [*a.poll(0.05, PLENTY), *b.poll(0.05, PLENTY)]
        assert sorted(map(int, bodies(seen))) == list(range(16))

    def test_a_member_that_closes_hands_over_at_once(self, bus: Bus, four: str, join: Callable[..., Consumer]) -> None:
        watch = Watch()
        a, b = join(four, "a"), join(four, "b", watch=watch)
        poll_until(lambda: len(watch.owned) == 2, a, b)
        a.close()
        poll_until(lambda: len(watch.owned) == 4, b)

    def test_what_a_killed_member_did_not_commit_comes_to_another(
        self, adapter: BusAdapter, bus: Bus, four: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(four, i % 4, f"{i}") for i in range(8)])
        with Child(adapter.spec, "consume", four, "g", "killed") as child:
            assert len([child.line() for _ in range(8)]) == 8
            child.kill()
        assert sorted(bodies(drain(join(four, "heir"), 8))) == [f"{i}" for i in range(8)]

    def test_a_member_that_fell_silent_is_replaced_and_fenced(
        self, adapter: BusAdapter, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, "x")])
        silent = join(one, "silent")
        records = drain(silent, 1)
        heir = join(one, "heir")
        assert bodies(drain(heir, 1)) == ["x"]
        with pytest.raises(FencedError):
            commit_all(silent, records)
        assert bus.committed("g", one) == {}
        commit_all(heir, records)
        assert bus.committed("g", one) == {0: 1}

    def test_a_partition_that_went_to_another_cannot_be_committed(
        self, bus: Bus, four: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(four, i, f"{i}") for i in range(4)])
        watch = Watch()
        a = join(four, "a")
        records = drain(a, 4)
        b = join(four, "b", watch=watch)
        poll_until(lambda: len(watch.owned) == 2, a, b)
        for record in records:
            if record.where in watch.owned:
                with pytest.raises(FencedError):
                    a.commit({record.where: record.offset + 1})
        assert bus.committed("g", four) == {}

    def test_after_fencing_a_poll_starts_over_at_what_is_committed(
        self, adapter: BusAdapter, bus: Bus, four: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(four, i, f"{i}") for i in range(4)])
        mine, theirs = Watch(), Watch()
        a = join(four, "a", watch=mine)
        records = drain(a, 4)
        b = join(four, "b", watch=theirs, at=adapter.open())
        poll_until(lambda: len(theirs.owned) == 2, b)
        with pytest.raises(FencedError):
            commit_all(a, records)
        again = poll_until(lambda: len(mine.owned) == 2, a)
        again += drain(a, 2 - len(again))
        assert {r.where for r in again} == mine.owned
        commit_all(a, again)

    def test_a_second_life_of_a_member_takes_over_at_once_and_fences_the_first(
        self, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, "x")])
        first = join(one, "same")
        records = drain(first, 1)
        second = join(one, "same")
        assert bodies(drain(second, 1)) == ["x"]
        with pytest.raises(FencedError):
            commit_all(first, records)
        with pytest.raises(FencedError):
            first.poll(0.0, 1)
        first.close()
        commit_all(second, records)
        assert bus.committed("g", one) == {0: 1}
