"""What was fetched ahead, without a broker: positions, order, limits, fairness."""

from __future__ import annotations

import pytest

from bus.errors import OffsetGapError
from bus.kafka_shelf import HELD_BYTES_MAX, Held, Shelf
from bus.port import Record, TopicPartition

HERE = TopicPartition("t", 0)


def at(offset: int, where: TopicPartition = HERE, size: int = 10) -> Record:
    return Record(where.topic, where.partition, offset, 0, (), bytes(size))


def test_an_end_moves_the_position_over_what_is_never_delivered() -> None:
    held = Held(HERE, 0, 0)
    for entry in (at(0), 3):
        held.add(entry)
    assert [r.offset for r in held.take(100)] == [0]
    assert (held.position, held.fetched) == (3, 3)


def test_the_position_stays_with_the_caller_not_with_what_is_fetched() -> None:
    held = Held(HERE, 0, 0)
    for entry in (at(0), at(1), 2):
        held.add(entry)
    held.take(1)
    assert (held.position, held.fetched) == (1, 2)


def test_what_comes_between_a_seek_and_its_doing_is_dropped() -> None:
    held = Held(HERE, 0, 0)
    held.add(at(0))
    held.seek(5)
    held.add(at(1))
    assert (held.take(100), held.position, held.size_bytes) == ([], 5, 0)


def test_seeking_to_where_one_is_keeps_what_is_fetched() -> None:
    held = Held(HERE, 0, 0)
    held.add(at(0))
    held.seek(0)
    assert [r.offset for r in held.take(100)] == [0]


def test_a_gap_shows_after_the_records_before_it_and_until_sought() -> None:
    held = Held(HERE, 0, 0)
    held.add(at(0))
    held.add(OffsetGapError("t", 0, 1, 9))
    assert [r.offset for r in held.take(100)] == [0]
    for _ in range(2):
        with pytest.raises(OffsetGapError):
            held.take(100)
    held.seek(9)
    assert held.take(100) == []


def test_a_full_partition_is_fetched_again_when_half_is_taken() -> None:
    held = Held(HERE, 0, 0)
    for offset in range(4):
        held.add(at(offset, size=HELD_BYTES_MAX // 4))
    assert not held.wants_fetching()
    held.fetching = False
    held.take(1)
    assert not held.wants_fetching()
    held.take(HELD_BYTES_MAX // 2)
    assert held.wants_fetching()


def test_each_turn_begins_with_another_partition() -> None:
    shelf = Shelf()
    for partition in range(3):
        where = TopicPartition("t", partition)
        shelf.held[where] = Held(where, 0, 0)
        for offset in range(2):
            shelf.held[where].add(at(offset, where))
    told = dict(shelf.held)
    assert [shelf.take(told, turn, 1)[0].partition for turn in range(3)] == [0, 1, 2]


def test_starting_over_leaves_nothing_of_what_was_held() -> None:
    shelf = Shelf()
    shelf.held[HERE] = Held(HERE, 0, 0)
    with shelf.changed:
        shelf.start_over()
    assert (shelf.held, shelf.unplaced) == ({}, {HERE})
