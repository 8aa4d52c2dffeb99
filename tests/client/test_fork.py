from __future__ import annotations

from collections.abc import Iterator

import pytest

from heliograph.message import Headers
from heliograph.records import LOGS, decode_batch
from tests.client.batches import eventually
from tests.client.fake_agent import FakeAgent, fake_agent
from tests.client.scripts import run


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with fake_agent() as found:
        yield found


def bodies(agent: FakeAgent) -> dict[str, tuple[bytes, int]]:
    """Producer and sequence of each log record, by its body."""
    found = {}
    for message in agent.messages:
        if message.topic == LOGS.topic:
            batch_id = Headers.decode(message.headers).batch_id
            for record in decode_batch(message.body, LOGS.schema)["records"]:
                assert record["body"] not in found
                found[record["body"]] = (batch_id.producer_id, batch_id.sequence)
    return found


PRODUCER = """
    import os, sys
    from heliograph import AgentTransport, Producer
    from tests.client.batches import log_batch
    producer = Producer(AgentTransport(sys.argv[1]))
    producer.submit([log_batch(producer.mint, "before")])
"""


def test_a_forked_child_sends_its_own_with_another_identity(agent: FakeAgent) -> None:
    run(
        PRODUCER
        + """
    pid = os.fork()
    producer.submit([log_batch(producer.mint, "child" if pid == 0 else "parent")])
    if pid == 0:
        assert producer.flush(20)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert producer.flush(20)
    """,
        agent.endpoint,
    )
    found = bodies(agent)
    assert found.keys() == {"before", "child", "parent"}
    assert found["child"][1] == 0
    assert found["child"][0] != found["parent"][0] == found["before"][0]


def test_a_child_forked_while_a_send_is_under_way_is_free(agent: FakeAgent) -> None:
    # The parent's thread holds a connection, maybe the lock, and a queue of which the child must send nothing.
    run(
        PRODUCER
        + """
    import threading
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            producer.statistics
            producer.mint()
    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads: thread.start()
    for n in range(20):
        producer.submit([log_batch(producer.mint, f"parent {n}")])
        pid = os.fork()
        if pid == 0:
            producer.submit([log_batch(producer.mint, f"child {n}")])
            os._exit(0 if producer.flush(20) else 1)
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    for thread in threads: thread.join()
    assert producer.flush(20)
    """,
        agent.endpoint,
        deadline_s=60,
    )
    found = bodies(agent)
    assert found.keys() == {"before"} | {f"{who} {n}" for who in ("parent", "child") for n in range(20)}
    assert len({producer for producer, _ in found.values()}) == 21


def test_a_child_that_ends_by_os_exit_ends_at_once_and_leaves_the_parent_whole(agent: FakeAgent) -> None:
    run(
        PRODUCER
        + """
    pid = os.fork()
    if pid == 0:
        producer.submit([log_batch(producer.mint, "maybe")])
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    producer.submit([log_batch(producer.mint, "after")])
    """,
        agent.endpoint,
    )
    eventually(lambda: {"before", "after"} <= bodies(agent).keys())


def test_a_child_of_a_producer_that_was_shut_down_starts_nothing(agent: FakeAgent) -> None:
    run(
        PRODUCER
        + """
    assert producer.shutdown(20)
    pid = os.fork()
    if pid == 0:
        producer.submit([log_batch(producer.mint, "late")])
        os._exit(0 if producer.statistics.batches_dropped == {"shutdown": 1} else 1)
    assert os.waitpid(pid, 0)[1] == 0
    """,
        agent.endpoint,
    )
    assert bodies(agent).keys() == {"before"}


CONFIGURED = """
    import logging, os, sys
    import heliograph
    from opentelemetry import metrics, trace
    handle = heliograph.configure("shop", endpoint=sys.argv[1])
    logging.warning("before")
"""


def test_a_configured_application_may_fork(agent: FakeAgent) -> None:
    run(
        CONFIGURED
        + """
    counter = metrics.get_meter("shop").create_counter("orders")
    counter.add(1)
    assert handle.flush(20)
    pid = os.fork()
    with trace.get_tracer("shop").start_as_current_span("child" if pid == 0 else "parent"):
        logging.warning("child" if pid == 0 else "parent")
        counter.add(1)
    assert handle.flush(20)
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    """,
        agent.endpoint,
    )
    instances = {}
    for message in agent.messages:
        if message.topic == LOGS.topic:
            batch = decode_batch(message.body, LOGS.schema)
            for record in batch["records"]:
                instances[record["body"]] = batch["resource"]["service.instance.id"]
    assert instances.keys() == {"before", "parent", "child"}
    assert instances["child"] != instances["parent"] == instances["before"]


def test_children_of_multiprocessing_flush_when_they_end(agent: FakeAgent) -> None:
    run(
        CONFIGURED
        + """
    import multiprocessing
    child = multiprocessing.get_context("fork").Process(target=logging.warning, args=("child",))
    child.start()
    child.join()
    assert child.exitcode == 0
    """,
        agent.endpoint,
    )
    assert bodies(agent).keys() == {"before", "child"}
