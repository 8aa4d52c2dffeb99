"""What our topics need of Kafka: made so, or checked."""

from __future__ import annotations

from typing import Final

from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType, TopicDescription

from bus.errors import BusConfigError
from bus.kafka_errors import TOO_OLD
from bus.kafka_settings import RECORD_BYTES_MAX
from bus.port import MESSAGE_BYTES_MAX
from heliograph import contracts

_HOUR_MS = 3_600_000
_RETENTION_HOURS_DEFAULT: Final = 24


def new_topic(topic: str, partitions: int, replication_factor: int) -> NewTopic:
    """As topics.yaml has it; with two replicas or more, two must have a message before it is acknowledged."""
    known = contracts.topics().get(topic)
    config = {
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "delete",
        "retention.ms": str((known.retention_hours if known else _RETENTION_HOURS_DEFAULT) * _HOUR_MS),
        "retention.bytes": "-1",
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "compression.type": "producer",
        "unclean.leader.election.enable": "false",
    }
    if replication_factor >= 2:
        config["min.insync.replicas"] = "2"
    return NewTopic(topic, partitions, replication_factor, config=config)


def check_topic(admin: AdminClient, topic: str, made: TopicDescription, count: int, timeout_s: float) -> None:
    """Raises BusConfigError with what to change when the topic would lose or mistime messages."""
    if len(made.partitions) != count:
        raise BusConfigError(
            f"topic {topic} has {len(made.partitions)} partitions, not {count}: partitions never change in place"
        )
    if not str(made.topic_id).strip("A="):
        raise BusConfigError(f"topic {topic} has no id: {TOO_OLD}")
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (asked,) = admin.describe_configs([resource], request_timeout=timeout_s).values()
    found = {name: entry.value for name, entry in asked.result(timeout_s + 1.0).items()}
    for problem in problems(topic, found, min(len(p.replicas) for p in made.partitions)):
        raise BusConfigError(f"topic {topic}: {problem}")


def problems(topic: str, config: dict[str, str], replicas: int) -> list[str]:
    """What to change in a topic's settings, one sentence each."""
    found = []
    if config["message.timestamp.type"] != "LogAppendTime":
        found.append("set message.timestamp.type=LogAppendTime, because late and early are told by the log's own clock")
    if int(config["max.message.bytes"]) < MESSAGE_BYTES_MAX:
        found.append(f"set max.message.bytes={RECORD_BYTES_MAX} at least, or full messages are refused")
    if "compact" in config["cleanup.policy"]:
        found.append("set cleanup.policy=delete, because compaction removes messages without a key")
    if replicas >= 2 and int(config["min.insync.replicas"]) < 2:
        found.append("set min.insync.replicas=2, or one broker's end may take acknowledged messages along")
    if config["unclean.leader.election.enable"] != "false":
        found.append("set unclean.leader.election.enable=false, or acknowledged messages may be lost")
    known = contracts.topics().get(topic)
    retention_ms = int(config["retention.ms"])
    if known is not None and 0 <= retention_ms < known.retention_hours * _HOUR_MS:
        found.append(f"set retention.ms={known.retention_hours * _HOUR_MS} at least, as topics.yaml has it")
    return found
