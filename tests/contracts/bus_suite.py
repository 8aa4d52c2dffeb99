"""What every bus must do for one consumer. An adapter's tests subclass the suites and give the `adapter` fixture."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from bus.errors import BusError, OffsetGapError, OversizeError, UnknownTopicError
from bus.port import MESSAGE_BYTES_MAX, Bus, Consumer, Partitions, TopicPartition
from heliograph.message import Message
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


class BusLogSuite(BusFixtures):
    """Topics, offsets, order, limits, durability."""

    def test_messages_of_a_partition_come_in_the_order_of_their_offsets(
        self, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        offsets = [*bus.produce([message(one, 0, f"{i}") for i in range(50)])]
        offsets += bus.produce([message(one, 0, f"{i}") for i in range(50, 60)])
        records = drain(join(one), 60)
        assert bodies(records) == [f"{i}" for i in range(60)]
        assert [r.offset for r in records] == offsets == sorted(set(offsets))

    def test_offsets_answer_in_the_order_of_the_call(self, bus: Bus, four: str, join: Callable[..., Consumer]) -> None:
        sent = [message(four, i % 3, f"{i}") for i in range(20)]
        offsets = bus.produce(sent)
        found = {(r.partition, r.offset): r.body for r in drain(join(four), 20)}
        assert found == {(m.partition, offset): m.body for m, offset in zip(sent, offsets, strict=True)}

    @pytest.mark.parametrize("body", [b"", b"\0\xff" * 7, bytes(300_000)])
    def test_headers_and_body_come_unchanged(
        self, bus: Bus, one: str, join: Callable[..., Consumer], body: bytes
    ) -> None:
        sent = Message(one, 0, (("b", b"\0\x01"), ("a", b""), ("a", b"\xff" * 99)), body)
        bus.produce([sent])
        (record,) = drain(join(one), 1)
        assert (record.topic, record.partition, record.headers, record.body) == (one, 0, sent.headers, body)

    def test_append_times_never_go_back(self, bus: Bus, one: str, join: Callable[..., Consumer]) -> None:
        for i in range(5):
            bus.produce([message(one, 0, f"{i}")])
        times = [r.append_time_ms for r in drain(join(one), 5)]
        assert times == sorted(times)
        assert abs(times[-1] - time.time() * 1000) < 3_600_000

    def test_an_oversize_message_is_refused_with_all_of_its_call(self, bus: Bus, one: str) -> None:
        with pytest.raises(OversizeError) as caught:
            bus.produce([message(one, 0, "small"), Message(one, 0, (), bytes(MESSAGE_BYTES_MAX + 1))])
        assert (caught.value.size_bytes, caught.value.bytes_max) == (MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX)
        assert bus.end_offsets(one) == {0: 0}

    def test_a_message_of_the_greatest_size_is_taken(self, bus: Bus, one: str, join: Callable[..., Consumer]) -> None:
        body = bytes(range(256)) * (MESSAGE_BYTES_MAX // 256)
        bus.produce([Message(one, 0, (), body)])
        assert drain(join(one), 1)[0].body == body

    @pytest.mark.parametrize("topic,partition", [("nowhere", 0), ("one", 1)])
    def test_an_unknown_topic_or_partition_is_refused_with_all_of_its_call(
        self, bus: Bus, one: str, topic: str, partition: int
    ) -> None:
        with pytest.raises(UnknownTopicError):
            bus.produce([message(one, 0, "x"), message(topic, partition, "y")])
        assert bus.end_offsets(one) == {0: 0}

    def test_questions_about_an_unknown_topic_are_refused(self, bus: Bus) -> None:
        for ask in (bus.partitions, bus.log_id, bus.end_offsets):
            with pytest.raises(UnknownTopicError):
                ask("nowhere")

    def test_a_topic_is_made_once_and_keeps_its_partitions(self, bus: Bus, one: str) -> None:
        bus.produce([message(one, 0, "x")])
        bus.create_topics({one: 1})
        with pytest.raises(BusError):
            bus.create_topics({one: 2})
        assert (bus.partitions(one), bus.end_offsets(one)) == (1, {0: 1})

    def test_a_log_id_can_be_part_of_a_name(self, bus: Bus, one: str, four: str) -> None:
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", bus.log_id(topic)) for topic in (one, four))

    def test_a_log_id_is_the_same_for_all_and_for_ever(
        self, adapter: BusAdapter, bus: Bus, one: str, four: str
    ) -> None:
        log_id = bus.log_id(one)
        bus.close()
        assert adapter.open().log_id(one) == log_id
        assert adapter.open().log_id(four) != log_id

    def test_nothing_to_produce_is_nothing_done(self, bus: Bus) -> None:
        assert list(bus.produce([])) == []

    def test_what_is_acknowledged_survives_the_end_of_the_process(
        self, adapter: BusAdapter, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        with Child(adapter.spec, "produce", one, "p", "100000") as child:
            acknowledged = [child.line() for _ in range(20)] + child.kill()
        complete = [line.split() for line in acknowledged if line.count(":") == 1]
        found = {str(r.offset): r.body.decode() for r in drain(join(one), bus.end_offsets(one)[0])}
        # The last line may be cut by the kill, so it proves nothing.
        assert {offset: body for _, offset, body in complete[:-1]}.items() <= found.items()
        assert list(found.values()) == [f"p:{i}" for i in range(len(found))]

    def test_many_processes_append_at_once(self, adapter: BusAdapter, four: str, join: Callable[..., Consumer]) -> None:
        children = [Child(adapter.spec, "produce", four, f"p{n}", "40") for n in range(4)]
        acknowledged = {line for child in children for line in child.rest()}
        records = drain(join(four), 160)
        assert {f"{r.partition} {r.offset} {r.body.decode()}" for r in records} == acknowledged
        for n in range(4):
            for partition in range(4):
                own = [b for b in bodies([r for r in records if r.partition == partition]) if b.startswith(f"p{n}:")]
                assert own == [f"p{n}:{i}" for i in range(partition, 40, 4)]

    def test_an_emptied_log_goes_on_counting(self, adapter: BusAdapter, bus: Bus, one: str) -> None:
        first = bus.produce([message(one, 0, "x") for _ in range(3)])
        adapter.forget_all(one)
        again = adapter.open()
        assert again.end_offsets(one) == {0: first[-1] + 1}
        assert again.produce([message(one, 0, "y")])[0] > first[-1]


class BusConsumerSuite(BusFixtures):
    """One consumer: position, commit, seek, pause, waiting, gaps."""

    def test_a_group_goes_on_where_it_has_committed(self, bus: Bus, one: str, join: Callable[..., Consumer]) -> None:
        bus.produce([message(one, 0, f"{i}") for i in range(10)])
        first = join(one)
        records = drain(first, 10)
        first.commit({TopicPartition(one, 0): records[3].offset + 1})
        first.close()
        assert bus.committed("g", one) == {0: records[3].offset + 1}
        assert bodies(drain(join(one), 6)) == ["4", "5", "6", "7", "8", "9"]

    def test_a_group_that_never_committed_has_no_offset_and_reads_from_the_start(
        self, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, "x")])
        assert bus.committed("g", one) == {}
        first = join(one)
        drain(first, 1)
        first.close()
        assert bodies(drain(join(one), 1)) == ["x"]

    def test_groups_do_not_know_each_other(self, bus: Bus, one: str, join: Callable[..., Consumer]) -> None:
        bus.produce([message(one, 0, "x")])
        first, second = join(one, group="first"), join(one, group="second")
        commit_all(first, drain(first, 1))
        assert bodies(drain(second, 1)) == ["x"]
        assert (bus.committed("first", one), bus.committed("second", one)) == ({0: 1}, {})

    def test_a_position_is_the_next_offset(self, bus: Bus, one: str, join: Callable[..., Consumer]) -> None:
        offsets = bus.produce([message(one, 0, f"{i}") for i in range(3)])
        consumer = join(one)
        drain(consumer, 3)
        assert consumer.position(TopicPartition(one, 0)) == offsets[-1] + 1

    def test_a_poll_keeps_to_its_bytes_but_delivers_one_at_least(
        self, bus: Bus, four: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(four, i % 4, "x" * 1000) for i in range(40)])
        consumer = join(four)
        seen = list(drain(consumer, 1, bytes_max=1))
        while len(seen) < 40:
            records = consumer.poll(5.0, 4000)
            assert len(records) >= 1
            assert sum(r.size_bytes for r in records) <= 8000
            seen += records
        assert len({(r.partition, r.offset) for r in seen}) == 40

    def test_seek_reads_again(self, bus: Bus, one: str, join: Callable[..., Consumer]) -> None:
        bus.produce([message(one, 0, f"{i}") for i in range(4)])
        consumer = join(one)
        records = drain(consumer, 4)
        consumer.seek(records[1].where, records[1].offset)
        assert bodies(drain(consumer, 3)) == ["1", "2", "3"]

    def test_seek_is_for_ones_own_partitions(self, one: str, join: Callable[..., Consumer]) -> None:
        consumer = join(one)
        consumer.poll(0.0, 1)
        with pytest.raises(BusError):
            consumer.seek(TopicPartition(one, 9), 0)

    def test_a_paused_partition_waits_and_loses_nothing(
        self, bus: Bus, four: str, join: Callable[..., Consumer]
    ) -> None:
        watch = Watch()
        consumer = join(four, watch=watch)
        poll_until(lambda: len(watch.owned) == 4, consumer)
        still = TopicPartition(four, 0)
        consumer.pause([still])
        bus.produce([message(four, i % 2, f"{i}") for i in range(8)])
        assert bodies(drain(consumer, 4)) == ["1", "3", "5", "7"]
        assert list(consumer.poll(0.1, PLENTY)) == []
        consumer.resume([still])
        assert bodies(drain(consumer, 4)) == ["0", "2", "4", "6"]

    def test_an_empty_poll_returns_in_time_and_a_waiting_one_sees_what_comes(
        self, adapter: BusAdapter, one: str, join: Callable[..., Consumer]
    ) -> None:
        consumer = join(one)
        assert list(consumer.poll(0.05, PLENTY)) == []
        with Child(adapter.spec, "produce", one, "late", "1"):
            assert bodies(consumer.poll(DEADLINE_S, PLENTY)) == ["late:0"]

    def test_assigned_comes_before_the_first_record_and_may_seek(
        self, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, f"{i}") for i in range(5)])
        watch = Watch()
        consumer = join(one, watch=watch)

        def skip_three(partitions: Partitions) -> None:
            for where in partitions:
                consumer.seek(where, 3)

        watch.on_assigned = skip_three
        assert bodies(drain(consumer, 2)) == ["3", "4"]
        consumer.close()
        here = frozenset({TopicPartition(one, 0)})
        assert watch.told == [("assigned", here), ("revoked", here)]

    def test_a_position_that_is_gone_is_a_gap_and_seek_mends_it(
        self, adapter: BusAdapter, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, f"{i}") for i in range(5)])
        adapter.forget_all(one)
        (kept,) = bus.produce([message(one, 0, "kept")])
        consumer = join(one)
        with pytest.raises(OffsetGapError) as caught:
            drain(consumer, 1)
        gap = caught.value
        assert (gap.topic, gap.partition, gap.expected) == (one, 0, 0)
        assert 0 < gap.log_start <= kept
        consumer.seek(TopicPartition(one, 0), gap.log_start)
        assert bodies(drain(consumer, 1)) == ["kept"]

    def test_a_gap_shows_even_when_nothing_is_left(
        self, adapter: BusAdapter, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, "x")])
        adapter.forget_all(one)
        with pytest.raises(OffsetGapError):
            drain(join(one), 1)

    def test_a_full_partition_does_not_starve_the_others(
        self, bus: Bus, four: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(four, i % 4, "x" * 1000) for i in range(400)])
        consumer = join(four)
        seen: set[int] = set()
        deadline = time.monotonic() + DEADLINE_S
        while seen != {0, 1, 2, 3}:
            assert time.monotonic() < deadline, f"only {seen} came"
            records = consumer.poll(5.0, 2000)
            seen |= {r.partition for r in records}
            # Whatever was read of is filled again, so that waiting alone empties nothing.
            bus.produce([message(four, r.partition, r.body) for r in records])

    def test_closing_twice_is_closing(self, bus: Bus, one: str, join: Callable[..., Consumer]) -> None:
        consumer = join(one)
        consumer.close()
        consumer.close()
        bus.close()
        bus.close()

    def test_an_unknown_topic_cannot_be_joined(self, bus: Bus, join: Callable[..., Consumer]) -> None:
        with pytest.raises(UnknownTopicError):
            join("nowhere").poll(1.0, 1)
