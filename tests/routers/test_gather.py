from __future__ import annotations

import pytest

from bus.port import Record, TopicPartition
from routers.gather import Gather, tried, without
from sinks.port import CutLimits, Range

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
LIMITS = CutLimits(age_s=10.0, first_age_s=2.0, bytes_max=100)


def record(where: TopicPartition, offset: int, size: int = 10, append_time_ms: int = 0) -> Record:
    return Record(where.topic, where.partition, offset, append_time_ms, (), b"x" * size)


@pytest.fixture
def gather() -> Gather:
    made = Gather(LIMITS)
    made.open(A, "log", 0, 5)
    return made


def test_nothing_gathered_is_never_due(gather: Gather) -> None:
    assert gather.empty
    assert gather.due_in_s(1e9) is None


def test_the_first_cut_comes_sooner_and_later_ones_by_age(gather: Gather) -> None:
    gather.add([record(A, 0)], {}, 100.0)
    assert gather.due_in_s(100.5) == 1.5
    gather.take()
    gather.add([record(A, 1)], {}, 200.0)
    gather.add([record(A, 2)], {}, 205.0)
    assert gather.due_in_s(206.0) == 4.0
    assert gather.due_in_s(211.0) == 0.0


def test_an_assignment_makes_the_next_cut_a_first_one(gather: Gather) -> None:
    gather.add([record(A, 0)], {}, 0.0)
    gather.take()
    gather.open(B, "log", 0, 0)
    gather.add([record(A, 1)], {}, 0.0)
    assert gather.due_in_s(0.0) == 2.0


def test_bytes_make_a_cut_due_and_bound_it(gather: Gather) -> None:
    gather.add([record(A, i, 40) for i in range(5)], {A: 7}, 0.0)
    assert gather.due_in_s(0.0) == 0.0
    cut = gather.take()
    assert [r.offset for r in cut.records] == [0, 1, 2]
    assert cut.ranges == (Range(A, "log", 0, 3),)
    assert gather.size_bytes == 80
    assert gather.take().ranges == (Range(A, "log", 3, 7),)
    assert gather.empty


def test_a_record_larger_than_a_cut_is_a_cut(gather: Gather) -> None:
    gather.add([record(A, 0, 5000), record(A, 1)], {}, 0.0)
    assert [r.offset for r in gather.take().records] == [0]
    assert [r.offset for r in gather.take().records] == [1]


def test_a_range_begins_where_the_former_ended_whatever_was_delivered(gather: Gather) -> None:
    gather.add([record(A, 3)], {A: 6}, 0.0)
    assert gather.take().ranges == (Range(A, "log", 0, 6),)
    gather.add([record(A, 9)], {A: 10}, 0.0)
    assert gather.take().ranges == (Range(A, "log", 6, 10),)


def test_a_position_that_moved_without_a_record_is_a_range(gather: Gather) -> None:
    gather.add([], {A: 2}, 0.0)
    assert gather.due_in_s(2.0) == 0.0
    cut = gather.take()
    assert (cut.ranges, list(cut.records)) == ((Range(A, "log", 0, 2),), [])


def test_records_of_partitions_that_are_not_open_or_were_taken_are_ignored(gather: Gather) -> None:
    gather.add([record(A, 0), record(B, 0)], {A: 1, B: 1}, 0.0)
    gather.add([record(A, 0)], {A: 1}, 0.0)
    assert [(r.where, r.offset) for r in gather.take().records] == [(A, 0)]
    assert gather.empty


def test_a_dropped_partition_takes_its_bytes_with_it(gather: Gather) -> None:
    gather.open(B, "log", 0, 0)
    gather.add([record(A, 0), record(B, 0, 30)], {}, 0.0)
    gather.drop([B])
    assert gather.size_bytes == 10
    gather.drop([A])
    assert gather.due_in_s(100.0) is None


def test_the_partition_with_the_oldest_record_goes_first(gather: Gather) -> None:
    gather.open(B, "log", 0, 0)
    gather.add([record(A, 0, 100, append_time_ms=9), record(B, 0, 100, append_time_ms=3)], {}, 0.0)
    assert [r.where for r in gather.take().records] == [B]
    assert [r.where for r in gather.take().records] == [A]


def test_after_a_gap_a_new_range_begins_at_the_log_start(gather: Gather) -> None:
    gather.add([record(A, 0)], {}, 0.0)
    with pytest.raises(ValueError, match="still holds"):
        gather.jump(A, 50)
    gather.force()
    assert gather.due_in_s(0.0) == 0.0
    assert gather.take().ranges == (Range(A, "log", 0, 1),)
    gather.jump(A, 50)
    gather.add([record(A, 51)], {}, 0.0)
    assert gather.due_in_s(0.0) == 10.0
    assert gather.take().ranges == (Range(A, "log", 50, 52),)


def test_a_cut_knows_what_may_have_been_written(gather: Gather) -> None:
    gather.add([record(A, 4), record(A, 5)], {}, 0.0)
    cut = gather.take()
    assert [cut.maybe_written(r) for r in cut.records] == [True, False]
    assert [tried(cut).maybe_written(r) for r in cut.records] == [True, True]


def test_a_cut_without_a_partition_keeps_the_others(gather: Gather) -> None:
    gather.open(B, "log", 0, 3)
    gather.add([record(A, 0), record(B, 0)], {}, 0.0)
    cut = without(gather.take(), [A])
    assert (cut.ranges, [r.where for r in cut.records]) == ((Range(B, "log", 0, 1),), [B])
    assert cut.tried_below == {B: 3}
