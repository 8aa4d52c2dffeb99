from __future__ import annotations

import dataclasses
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from heliograph.agent_transport import AgentTransport
from heliograph.delivery import Edge, Limits
from heliograph.errors import HeliographError, RefusedError, UnavailableError
from heliograph.message import Headers, Message
from heliograph.producer import Producer
from heliograph.testing import InMemoryTransport
from tests.client.batches import attempts, eventually, log_batch, sequences
from tests.client.scripts import run

IMPATIENT = Limits(backoff_first_s=0.001, backoff_max_s=0.001, linger_s=0.001)
DAYS_S = 1e6


class StuckTransport:
    """A peer that takes the request and never answers."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.freed = threading.Event()
        self.taken: list[Message] = []

    def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        self.entered.set()
        self.freed.wait()
        self.taken += messages

    def close(self) -> None:
        pass


@pytest.fixture
def stuck() -> Iterator[StuckTransport]:
    transport = StuckTransport()
    yield transport
    transport.freed.set()


@pytest.fixture
def make() -> Iterator[Callable[..., Producer]]:
    made: list[Producer] = []

    def producer(*args: object, **options: object) -> Producer:
        made.append(Producer(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    yield producer
    for one in made:
        one.shutdown(0)


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "heliograph-producer"]


def test_nothing_starts_before_the_first_batch(make: Callable[..., Producer]) -> None:
    before = len(threads())
    producer = make(InMemoryTransport())
    assert producer.flush(0)
    assert producer.statistics.queued_bytes == 0
    assert len(threads()) == before
    producer.submit([log_batch(producer.mint)])
    assert len(threads()) == before + 1


def test_batches_arrive_in_order_in_fat_sends(make: Callable[..., Producer], stuck: StuckTransport) -> None:
    producer = make(stuck)
    producer.submit([log_batch(producer.mint)])
    stuck.entered.wait()
    producer.submit([log_batch(producer.mint) for _ in range(99)])
    stuck.freed.set()
    assert producer.flush(20)
    assert sequences(stuck.taken) == list(range(100))
    statistics = producer.statistics
    assert (statistics.queued_bytes, statistics.batches_acknowledged, statistics.items_acknowledged) == (0, 100, 100)


def test_a_send_does_not_grow_without_bound(make: Callable[..., Producer]) -> None:
    transport = InMemoryTransport([UnavailableError("not yet")])
    producer = make(transport, limits=dataclasses.replace(IMPATIENT, bundle_bytes_max=10_000))
    producer.submit([log_batch(producer.mint, "b" * 3_000) for _ in range(40)])
    assert producer.flush(20)
    assert len(transport.messages) == 40
    assert max(sum(m.size_bytes for m in send) for send in transport.sends) < 14_000


def test_submit_returns_while_a_send_is_stuck_and_the_queue_is_bounded_in_bytes(
    make: Callable[..., Producer], stuck: StuckTransport
) -> None:
    producer = make(stuck, queue_bytes_max=100_000)
    producer.submit([log_batch(producer.mint)])
    stuck.entered.wait()
    batches = [log_batch(producer.mint, "b" * 1_000) for _ in range(500)]
    for batch in batches:
        producer.submit([batch])
    statistics = producer.statistics
    fits = (100_000 - log_batch(producer.mint).size_bytes) // batches[0].size_bytes
    assert statistics.batches_dropped == {"queue_full": 500 - fits}
    assert statistics.items_dropped == {"queue_full": 500 - fits}
    assert 90_000 < statistics.queued_bytes <= 100_000
    assert not stuck.freed.is_set()


def test_what_a_full_queue_dropped_is_told_to_the_ledger(make: Callable[..., Producer]) -> None:
    transport = InMemoryTransport()
    producer = make(transport, queue_bytes_max=2_000)
    dropped = log_batch(producer.mint, "b" * 5_000, time_s=120)
    producer.submit([dropped, log_batch(producer.mint)])
    assert producer.flush(20)
    eventually(lambda: len(transport.facts) == 1)
    (fact,) = transport.facts
    headers = Headers.decode(dropped.headers)
    assert fact["producer_id"] == headers.batch_id.producer_id
    assert (fact["hop"], fact["outcome"], fact["reason"]) == ("client", "dropped", "queue_full")
    assert (fact["topic"], fact["sequence"], fact["service"]) == (dropped.topic, 0, "shop")
    assert fact["books"] == [{"minute": 2, "count": 1, "hash_sum": headers.books[0].hash_sum}]


def test_facts_of_drops_are_bounded_and_the_rest_counted(make: Callable[..., Producer], stuck: StuckTransport) -> None:
    producer = make(stuck, limits=Limits(queue_bytes_max=2_000, facts_bytes_max=1_000))
    producer.submit([log_batch(producer.mint)])
    stuck.entered.wait()
    producer.submit([log_batch(producer.mint, "b" * 5_000) for _ in range(100)])
    statistics = producer.statistics
    assert statistics.batches_dropped == {"queue_full": 100}
    assert 90 <= statistics.facts_lost < 100


def test_an_ambiguous_send_is_repeated_with_the_same_identity_and_bytes(make: Callable[..., Producer]) -> None:
    transport = InMemoryTransport([UnavailableError("timed out"), UnavailableError("timed out")])
    producer = make(transport, limits=IMPATIENT)
    batch = log_batch(producer.mint)
    producer.submit([batch])
    assert producer.flush(20)
    (taken,) = transport.messages
    assert [attempts(send) for send in transport.sends] == [[0], [1], [2]]
    assert taken.body == batch.body
    assert Headers.decode(taken.headers).batch_id == Headers.decode(batch.headers).batch_id
    assert producer.statistics.sends_failed == 2


def test_a_batch_that_was_not_yet_sent_does_not_say_it_was(make: Callable[..., Producer]) -> None:
    transport = InMemoryTransport([UnavailableError("timed out")])
    producer = make(transport, limits=IMPATIENT)
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    assert attempts(transport.messages) == [1, 0]


def test_a_transport_that_breaks_is_tried_again(make: Callable[..., Producer]) -> None:
    class Broken(InMemoryTransport):
        def send(self, messages: Sequence[Message], timeout_s: float) -> None:
            super().send(messages, timeout_s)
            if len(self.sends) == 1:
                raise ZeroDivisionError

    transport = Broken()
    producer = make(transport, limits=IMPATIENT)
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    assert attempts(transport.messages) == [0, 1]


def test_one_refused_batch_does_not_take_its_neighbours_along(make: Callable[..., Producer]) -> None:
    class Picky(InMemoryTransport):
        def send(self, messages: Sequence[Message], timeout_s: float) -> None:
            if any(sequences([m]) == [1] and m.topic == "telemetry.logs" for m in messages):
                raise RefusedError("bad batch", 400)
            super().send(messages, timeout_s)

    transport = Picky()
    producer = make(transport)
    producer.submit([log_batch(producer.mint) for _ in range(3)])
    assert producer.flush(20)
    assert sequences([m for m in transport.messages if m.topic == "telemetry.logs"]) == [0, 2]
    assert producer.statistics.batches_dropped == {"refused": 1}
    assert [(f["sequence"], f["reason"]) for f in transport.facts] == [(1, "refused")]


def test_a_refused_fact_makes_no_further_fact(make: Callable[..., Producer]) -> None:
    class NoLedger(InMemoryTransport):
        def send(self, messages: Sequence[Message], timeout_s: float) -> None:
            if any(m.topic == "telemetry.ledger" for m in messages):
                raise RefusedError("no ledger", 400)
            super().send(messages, timeout_s)

    producer = make(NoLedger(), queue_bytes_max=2_000)
    producer.submit([log_batch(producer.mint, "b" * 5_000), log_batch(producer.mint)])
    assert producer.flush(20)
    eventually(lambda: producer.statistics.facts_lost == 1)
    assert producer.statistics.batches_dropped == {"queue_full": 1}


def test_the_pause_before_a_retry_is_jittered_grows_and_heeds_the_peer() -> None:
    ceilings: list[float] = []

    def jitter(ceiling: float) -> float:
        ceilings.append(ceiling)
        return 0.0

    failures: list[HeliographError] = [UnavailableError("busy", 0.0) for _ in range(10)]
    limits = Limits(backoff_first_s=0.2, backoff_max_s=30)
    producer = Producer(
        InMemoryTransport(failures), limits=limits, edge=Edge(lambda: 0.0, lambda: 0, jitter, os.urandom)
    )
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    assert ceilings == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]
    producer.shutdown(0)


def test_flush_ends_a_long_pause(make: Callable[..., Producer]) -> None:
    transport = InMemoryTransport([UnavailableError("busy", DAYS_S)])
    producer = make(transport)
    producer.submit([log_batch(producer.mint)])
    eventually(lambda: producer.failing)
    assert producer.flush(20)
    assert not producer.failing


def test_flushes_that_gave_up_do_not_pile_up(make: Callable[..., Producer], stuck: StuckTransport) -> None:
    producer = make(stuck)
    producer.submit([log_batch(producer.mint)])
    stuck.entered.wait()
    assert not any(producer.flush(0) for _ in range(5_000))
    (delivery,) = producer._deliveries.values()
    assert delivery._inbox.qsize() <= 1_000
    stuck.freed.set()
    eventually(lambda: producer.flush(20))


@pytest.mark.parametrize("give_up", [Producer.flush, Producer.shutdown])
def test_giving_up_returns_by_its_deadline_while_a_send_is_stuck(
    make: Callable[..., Producer], stuck: StuckTransport, give_up: Callable[[Producer, float], bool]
) -> None:
    producer = make(stuck, limits=Limits(send_timeout_s=DAYS_S))
    producer.submit([log_batch(producer.mint)])
    stuck.entered.wait()
    producer.submit([log_batch(producer.mint)])
    assert give_up(producer, 0.05) is False


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "blackholed"])
def test_shutdown_returns_by_its_deadline_with_no_server(make: Callable[..., Producer], listening: bool) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:
            listener.listen()
        transport = AgentTransport(f"http://127.0.0.1:{listener.getsockname()[1]}")
        limits = Limits(send_timeout_s=DAYS_S, backoff_first_s=DAYS_S, backoff_max_s=DAYS_S)
        producer = make(transport, limits=limits)
        producer.submit([log_batch(producer.mint) for _ in range(3)])
        assert producer.shutdown(0.2) is False
    # The peer is gone now, so that the thread comes back from its send and accounts for what it held.
    eventually(lambda: producer.statistics.queued_bytes == 0)
    assert producer.statistics.batches_dropped == {"exit": 3}


def test_what_is_submitted_after_shutdown_is_counted(make: Callable[..., Producer]) -> None:
    transport = InMemoryTransport()
    producer = make(transport)
    producer.submit([log_batch(producer.mint)])
    assert producer.shutdown(20)
    producer.submit([log_batch(producer.mint)])
    assert producer.statistics.batches_dropped == {"shutdown": 1}
    assert len(transport.messages) == 1
    assert producer.flush(0)
    assert producer.shutdown(0)


def test_submitting_from_many_threads_loses_nothing(make: Callable[..., Producer]) -> None:
    transport = InMemoryTransport([UnavailableError("busy") for _ in range(5)])
    producer = make(transport, limits=IMPATIENT)

    def work() -> None:
        for _ in range(100):
            producer.submit([log_batch(producer.mint)])

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert producer.flush(20)
    assert sorted(sequences(transport.messages)) == list(range(800))
    assert producer.statistics.queued_bytes == 0


def test_submit_within_submit_does_not_deadlock(make: Callable[..., Producer], monkeypatch: pytest.MonkeyPatch) -> None:
    # What a signal handler does: it interrupts submit, in the same thread, while the lock is held.
    transport = InMemoryTransport()
    producer = make(transport)
    inner = [log_batch(producer.mint)]
    size_bytes = Message.size_bytes.fget  # type: ignore[attr-defined]

    def interrupted(message: Message) -> int:
        if inner:
            producer.submit([inner.pop()])
        return int(size_bytes(message))

    monkeypatch.setattr(Message, "size_bytes", property(interrupted))
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    assert sorted(sequences(transport.messages)) == [0, 1]


def test_an_outage_is_reported_once(make: Callable[..., Producer], caplog: pytest.LogCaptureFixture) -> None:
    producer = make(InMemoryTransport([UnavailableError("away") for _ in range(5)]), limits=IMPATIENT)
    with caplog.at_level(logging.WARNING):
        producer.submit([log_batch(producer.mint)])
        assert producer.flush(20)
    assert [r.name for r in caplog.records] == ["heliograph.producer"]
    assert "heliograph up" in caplog.text


def test_when_no_thread_can_start_flush_sends_by_itself(
    make: Callable[..., Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    transport = InMemoryTransport([UnavailableError("busy")])
    producer = make(transport, limits=IMPATIENT)
    monkeypatch.setattr(threading.Thread, "start", start)
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    assert len(transport.messages) == 1


def test_a_process_without_fork_hooks_still_starts_anew(
    make: Callable[..., Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = InMemoryTransport()
    producer = make(transport)
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    producer.submit([log_batch(producer.mint)])
    assert producer.flush(20)
    assert sequences(transport.messages) == [0, 0]
    assert len({h.batch_id.producer_id for h in transport.headers}) == 2
    producer.shutdown(1)


def test_signal_handlers_may_submit_log_and_flush_at_any_moment() -> None:
    run("""
    import logging, random, signal, threading
    import heliograph
    from heliograph.testing import InMemoryTransport
    from tests.client.batches import log_batch
    transport = InMemoryTransport()
    handle = heliograph.configure("shop", transport=transport)
    producer = heliograph.Producer(transport)
    handled = 0
    def handler(number, frame):
        global handled
        handled += 1
        producer.submit([log_batch(producer.mint, "handler")])
        logging.info("from the handler")
        producer.flush(0)
    signal.signal(signal.SIGALRM, handler)
    submitted = 0
    chance = random.Random(1)
    while handled < 300:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.003))  # once: a handler is not interrupted by the next
        batches = [log_batch(producer.mint, "main") for _ in range(20)]
        producer.submit(batches)
        submitted += len(batches)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert producer.flush(20)
    statistics = producer.statistics
    assert statistics.queued_bytes == 0
    assert statistics.batches_acknowledged + sum(statistics.batches_dropped.values()) == submitted + handled
    """)
