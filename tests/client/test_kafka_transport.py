"""The transport to Kafka: with brokers away, and on a real one."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings as BusSettings
from heliograph import KafkaSettings, KafkaTransport
from heliograph.contracts import LEDGER_TOPIC, LOGS_TOPIC
from heliograph.errors import RefusedError, UnavailableError
from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.producer import Producer
from tests.client.batches import eventually, log_batch, sequences
from tests.client.scripts import run
from tests.contracts.bus_adapter import Watch, poll_until
from tests.servers.kafka import broker
from tests.servers.kafka_secured import PASSWORD, SCRAM_USER, secured_broker

BATCH = log_batch(ProducerIdentity().mint)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def hole() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(params=["nobody", "hole"])
def away(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_brokers_that_are_away_are_unavailable_by_the_timeout_and_closing_waits_for_nothing(away: str) -> None:
    transport = KafkaTransport(KafkaSettings(away))
    for _ in range(2):
        with pytest.raises(UnavailableError, match=away):
            transport.send([BATCH], 0.3)
    transport.close()
    transport.close()


def test_a_batch_that_is_too_large_is_refused_before_anything_is_sent(nobody: str) -> None:
    with pytest.raises(RefusedError):
        KafkaTransport(KafkaSettings(nobody)).send([BATCH, replace(BATCH, body=bytes(1_100_000))], 1)


def test_no_secret_is_shown(nobody: str) -> None:
    settings = KafkaSettings(nobody, username="me", password="periwinkle", key_password="hush")
    assert "periwinkle" not in repr(KafkaTransport(settings)) and "hush" not in repr(settings)


def test_files_that_cannot_be_used_are_unavailable_and_not_a_crash(nobody: str) -> None:
    with pytest.raises(UnavailableError, match=r"ssl\.ca\.location"):
        KafkaTransport(KafkaSettings(nobody, ca_file="/nowhere.pem")).send([BATCH], 1)


def test_a_process_without_brokers_is_never_blocked_and_ends_on_time(away: str) -> None:
    out = run(
        """
    import logging, sys, time
    import heliograph
    handle = heliograph.configure("shop", brokers=sys.argv[1])
    begun = time.monotonic()
    for n in range(1000):
        logging.warning("hello %s", n)
    assert time.monotonic() - begun < 5
    assert handle.flush(0.5) is False
    print("end")
    """,
        away,
        deadline_s=25,
    )
    assert out == "end\n"


def test_a_fork_in_the_middle_of_a_send_leaves_a_child_that_is_free(away: str) -> None:
    run(
        """
    import logging, os, sys, time
    import heliograph
    handle = heliograph.configure("shop", brokers=sys.argv[1])
    for n in range(2):
        logging.warning("parent %s", n)
        handle.flush(0.1)
        pid = os.fork()
        if pid == 0:
            logging.warning("child %s", n)
            handle.flush(0.2)
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """,
        away,
        deadline_s=60,
    )


def test_the_library_is_imported_only_where_it_is_used(nobody: str) -> None:
    run(
        """
    import sys
    import heliograph
    for name in heliograph.__all__:
        getattr(heliograph, name)
    heliograph.configure("shop")
    assert "confluent_kafka" not in sys.modules
    heliograph.configure("shop", brokers=sys.argv[1])
    assert "confluent_kafka" in sys.modules
    """,
        nobody,
    )


@pytest.fixture
def topic() -> Iterator[str]:
    """One of one partition on the shared broker."""
    name = f"client.{uuid.uuid4().hex[:12]}"
    bus = KafkaBus(BusSettings(broker().bootstrap, replication_factor=1))
    # What is dropped is said in the ledger.
    bus.create_topics({name: 1, LEDGER_TOPIC: 1})
    yield name
    bus.close()


def batches(topic: str, count: int) -> list[Message]:
    mint = ProducerIdentity().mint
    return [replace(log_batch(mint, f"{n}"), topic=topic, partition=0) for n in range(count)]


def in_the_log(bootstrap: str, topic: str) -> list[Message]:
    """All messages of a topic."""
    bus = KafkaBus(BusSettings(bootstrap, replication_factor=1))
    consumer = bus.consumer(uuid.uuid4().hex, [topic], "a", Watch().listener())
    wanted = sum(bus.end_offsets(topic).values())
    found: list[Message] = []

    def all_there() -> bool:
        found.extend(Message(r.topic, r.partition, r.headers, r.body) for r in consumer.poll(0.1, 1 << 20))
        return len(found) == wanted

    poll_until(all_there)
    consumer.close()
    bus.close()
    return found


def test_batches_arrive_unchanged(topic: str) -> None:
    sent = batches(topic, 20)
    transport = KafkaTransport(KafkaSettings(broker().bootstrap))
    transport.send(sent[:10], 20)
    transport.send(sent[10:], 20)
    transport.close()
    assert in_the_log(broker().bootstrap, topic) == sent


def test_what_the_broker_refuses_takes_no_neighbour_along(topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker().bootstrap})
    small = ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[small])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(20)
    good = batches(topic, 4)
    bad = replace(good[2], body=bytes(5000))
    producer = Producer(KafkaTransport(KafkaSettings(broker().bootstrap)))
    producer.submit([good[0], good[1], bad, good[3]])
    assert producer.flush(30)
    assert producer.statistics.batches_dropped == {"refused": 1}
    assert producer.statistics.batches_acknowledged == 3
    producer.shutdown(5)
    assert sequences(in_the_log(broker().bootstrap, topic)) == [0, 1, 3]


def test_a_topic_that_is_missing_is_unavailable_and_not_made(topic: str) -> None:
    transport = KafkaTransport(KafkaSettings(broker().bootstrap))
    missing = replace(BATCH, topic=f"{topic}.missing")
    with pytest.raises(UnavailableError, match="UNKNOWN_TOPIC"):
        transport.send([missing], 20)
    transport.close()
    admin = AdminClient({"bootstrap.servers": broker().bootstrap})
    assert missing.topic not in admin.list_topics(timeout=10).topics


def test_a_user_gets_in_by_tls_and_a_wrong_password_is_unavailable() -> None:
    secured = secured_broker()
    name = f"client.{uuid.uuid4().hex[:12]}"
    bus = KafkaBus(BusSettings(secured.internal, replication_factor=1))
    bus.create_topics({name: 1})
    bus.close()
    settings = KafkaSettings(secured.sasl, ca_file=str(secured.ca_file), username=SCRAM_USER, password="wrong")
    sent = batches(name, 2)
    with pytest.raises(UnavailableError, match="_AUTHENTICATION"):
        KafkaTransport(settings).send(sent, 3)
    transport = KafkaTransport(replace(settings, password=PASSWORD))
    transport.send(sent, 20)
    transport.close()
    assert in_the_log(secured.internal, name) == sent


APPLICATION = """
    import logging, os, sys
    import heliograph
    handle = heliograph.configure(sys.argv[2], brokers=sys.argv[1])
    logging.warning("before")
"""


@pytest.fixture
def service() -> str:
    """A service of this test's own; topics are there."""
    bus = KafkaBus(BusSettings(broker().bootstrap, replication_factor=1))
    bus.create_topics({LOGS_TOPIC: 4, "telemetry.metrics": 4, "telemetry.traces": 4})
    bus.close()
    return f"shop-{uuid.uuid4().hex[:12]}"


def of_service(service: str) -> list[Message]:
    found = in_the_log(broker().bootstrap, LOGS_TOPIC)
    return [m for m in found if m.header("hg.service") == service.encode()]


def test_an_application_that_just_ends_has_sent_everything(service: str) -> None:
    run(APPLICATION, broker().bootstrap, service)
    assert len(of_service(service)) == 1


def test_a_forked_child_sends_its_own_with_another_identity(service: str) -> None:
    run(
        APPLICATION
        + """
    assert handle.flush(20)
    pid = os.fork()
    logging.warning("child" if pid == 0 else "parent")
    assert handle.flush(20)
    if pid == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """,
        broker().bootstrap,
        service,
    )
    producers = [m.header("hg.producer_id") for m in of_service(service)]
    assert len(producers) == 3
    assert len(set(producers)) == 2


def test_ending_is_quick_when_everything_is_sent(service: str) -> None:
    run(APPLICATION + "    assert handle.flush(20)", broker().bootstrap, service)
    eventually(lambda: len(of_service(service)) == 1)
