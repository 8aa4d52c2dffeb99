from __future__ import annotations

from collections.abc import Iterator

import pytest

from bus.errors import BusUnavailableError, UnknownTopicError
from collectors.errors import OutboxClosedError, OutboxFullError
from collectors.outbox import Outbox
from heliograph.message import Message
from tests.collectors.batches import log_batch
from tests.collectors.fake_bus import FakeBus, log_bodies


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def outbox(bus: FakeBus) -> Iterator[Outbox]:
    outbox = Outbox(bus, linger_s=0.01)
    yield outbox
    outbox.close(0.5)


def test_a_done_future_means_that_the_bus_has_it(bus: FakeBus, outbox: Outbox) -> None:
    outbox.submit([log_batch("a"), log_batch("b")]).result(5)
    assert log_bodies(bus.log) == ["a", "b"]
    assert outbox.bytes_held == 0


def test_what_gathers_goes_in_one_call_and_in_order(bus: FakeBus, outbox: Outbox) -> None:
    futures = [outbox.submit([log_batch(str(i))]) for i in range(200)]
    for future in futures:
        future.result(5)
    assert log_bodies(bus.log) == [str(i) for i in range(200)]
    assert bus.calls < 100


def test_over_the_limit_it_refuses_at_once_and_takes_again_later(bus: FakeBus) -> None:
    message = log_batch("x" * 1000)
    outbox = Outbox(bus, bytes_max=message.size_bytes * 2)
    bus.down = True
    held = [outbox.submit([message]), outbox.submit([message])]
    with pytest.raises(OutboxFullError) as caught:
        outbox.submit([message])
    assert caught.value.bytes_held == 2 * message.size_bytes
    bus.down = False
    for future in held:
        future.result(5)
    outbox.submit([message]).result(5)
    outbox.close()


def test_a_lost_answer_is_re_sent_with_the_same_bytes_and_a_higher_attempt(bus: FakeBus, outbox: Outbox) -> None:
    bus.lose_answers = 1
    outbox.submit([log_batch("a")]).result(5)
    first, second = bus.log
    assert first.body == second.body
    assert [int.from_bytes(m.header("hg.attempt") or b"", "big") for m in bus.log] == [0, 1]


def test_a_submit_fails_when_its_time_is_over_and_the_patient_one_is_delivered(bus: FakeBus, outbox: Outbox) -> None:
    bus.down = True
    patient = outbox.submit([log_batch("patient")])
    hasty = outbox.submit([log_batch("hasty")], deadline_s=0.1)
    with pytest.raises(BusUnavailableError):
        hasty.result(5)
    assert not patient.done()
    bus.down = False
    patient.result(5)
    assert log_bodies(bus.log) == ["patient"]


def test_a_message_that_the_bus_never_takes_does_not_fail_its_neighbours(bus: FakeBus, outbox: Outbox) -> None:
    before = outbox.submit([log_batch("before")])
    bad = outbox.submit([log_batch("bad"), Message("nowhere", 0, (), b"")])
    after = outbox.submit([log_batch("after")])
    with pytest.raises(UnknownTopicError):
        bad.result(5)
    before.result(5)
    after.result(5)
    assert log_bodies(bus.log)[:1] == ["before"]
    assert log_bodies(bus.log)[-1:] == ["after"]


def test_close_delivers_what_is_held(bus: FakeBus) -> None:
    outbox = Outbox(bus, linger_s=60)
    future = outbox.submit([log_batch("a")])
    outbox.close()
    future.result(0)
    with pytest.raises(OutboxClosedError):
        outbox.submit([log_batch("b")])


def test_close_fails_what_the_bus_does_not_take(bus: FakeBus) -> None:
    outbox = Outbox(bus)
    bus.down = True
    future = outbox.submit([log_batch("a")])
    outbox.close(0.1)
    with pytest.raises(OutboxClosedError):
        future.result(0)
