"""Settings, topics and errors of Kafka, without a broker."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException

from bus.errors import BusUnavailableError, FencedError, UnknownTopicError
from bus.kafka import path_safe
from bus.kafka_errors import Voice, told
from bus.kafka_settings import KafkaSettings, Sasl
from bus.kafka_topics import new_topic, problems
from bus.tls import Tls

GOOD = {
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": "1114112",
    "cleanup.policy": "delete",
    "retention.ms": str(24 * 3_600_000),
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
}


def test_no_secret_is_shown() -> None:
    settings = KafkaSettings("b:9092", Tls(key_password="hush"), Sasl("me", "periwinkle"))
    assert "hush" not in repr(settings)
    assert "periwinkle" not in repr(settings)


@pytest.mark.parametrize(
    "tls,sasl,protocol",
    [
        (None, None, "PLAINTEXT"),
        (Tls(), None, "SSL"),
        (None, Sasl("me", "x"), "SASL_PLAINTEXT"),
        (Tls(), Sasl("me", "x"), "SASL_SSL"),
    ],
)
def test_the_protocol_follows_from_what_is_given(tls: Tls | None, sasl: Sasl | None, protocol: str) -> None:
    assert KafkaSettings("b", tls, sasl).connection()["security.protocol"] == protocol


def test_two_replicas_must_have_a_message_where_there_are_two() -> None:
    with_three, with_one = new_topic("telemetry.logs", 4, 3).config, new_topic("telemetry.logs", 4, 1).config
    assert with_three is not None and with_one is not None
    assert with_three["min.insync.replicas"] == "2"
    assert "min.insync.replicas" not in with_one


@pytest.mark.parametrize(
    "name,value",
    [
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", "1000"),
        ("cleanup.policy", "compact"),
        ("retention.ms", "1000"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_a_topic_that_would_lose_or_mistime_is_told_with_what_to_change(name: str, value: str) -> None:
    assert problems("telemetry.logs", GOOD, replicas=3) == []
    (problem,) = problems("telemetry.logs", GOOD | {name: value}, replicas=3)
    assert f"set {name}=" in problem


def test_one_replica_alone_needs_no_second_in_sync() -> None:
    assert problems("telemetry.logs", GOOD | {"min.insync.replicas": "1"}, replicas=1) == []


@pytest.mark.parametrize(
    "code,kind",
    [
        (KafkaError.ILLEGAL_GENERATION, FencedError),
        (KafkaError.UNKNOWN_MEMBER_ID, FencedError),
        (KafkaError.FENCED_INSTANCE_ID, FencedError),
        (KafkaError.REBALANCE_IN_PROGRESS, BusUnavailableError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownTopicError),
        (KafkaError._TRANSPORT, BusUnavailableError),
    ],
)
def test_kafkas_errors_are_the_buss(code: int, kind: type[Exception]) -> None:
    assert type(told(KafkaError(code), "x")) is kind


def test_an_outage_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    voice = Voice("b:9092")
    with caplog.at_level(logging.INFO, "bus.kafka_errors"):
        for _ in range(50):
            voice.hear(KafkaError(KafkaError._TRANSPORT))
            voice.hear(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        voice.answered()
        voice.answered()
    assert len(caplog.records) == 2


def test_a_timeout_is_told_by_the_reason_that_was_heard() -> None:
    voice = Voice("b:9092")
    voice.hear(KafkaError(KafkaError._AUTHENTICATION))
    error = voice.told(KafkaException(KafkaError(KafkaError._TIMED_OUT)), "asking")
    assert "check the user name" in str(error)


def test_a_topics_id_can_be_part_of_a_name() -> None:
    assert path_safe("/uj3kAqyRTy+kOaVAOWEOQ") == "_uj3kAqyRTy-kOaVAOWEOQ"
