"""Shares of logs over members."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.sqlite_assignment import assign

_MEMBERS = st.sets(st.sampled_from("abcdef"), min_size=1)


def _logs(count: int) -> dict[int, str]:
    return dict.fromkeys(range(1, count + 1), "t")


@given(st.integers(0, 12), _MEMBERS, _MEMBERS)
def test_shares_are_complete_even_and_the_same_each_time(count: int, before: set[str], after: set[str]) -> None:
    topic_of = _logs(count)
    owners = assign(topic_of, {m: frozenset("t") for m in before}, {})
    topics_of = {m: frozenset("t") for m in sorted(after)}
    shares = assign(topic_of, topics_of, owners)
    assert shares.keys() == topic_of.keys()
    loads = [list(shares.values()).count(m) for m in after]
    assert max(loads) - min(loads) <= 1
    assert shares == assign(topic_of, dict(reversed(topics_of.items())), owners)


@given(st.integers(1, 12), _MEMBERS)
def test_nothing_moves_without_need(count: int, members: set[str]) -> None:
    topics_of = {m: frozenset("t") for m in members}
    shares = assign(_logs(count), topics_of, {})
    assert assign(_logs(count), topics_of, shares) == shares


def test_a_newcomer_takes_only_what_evens_out() -> None:
    topics_of = {m: frozenset("t") for m in "ab"}
    before = dict.fromkeys(range(1, 5), "a")
    after = assign(_logs(4), topics_of, before)
    assert list(after.values()).count("b") == 2


def test_members_get_logs_of_their_own_topics_only() -> None:
    topic_of = {1: "x", 2: "x", 3: "y", 4: "z"}
    shares = assign(topic_of, {"a": frozenset({"x"}), "b": frozenset({"x", "y"})}, {4: "a", 3: "a"})
    assert shares == {1: "a", 2: "a", 3: "b"} or shares == {1: "a", 2: "b", 3: "b"}
