"""How to reach a Kafka cluster, and what librdkafka is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from bus.port import MESSAGE_BYTES_MAX
from bus.tls import Tls

Config: TypeAlias = dict[str, str | int | float | bool]

# A full message, its framing and the keys that limits do not count.
RECORD_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 64 * 1024
_HEARTBEATS_PER_SESSION = 5
_HEARTBEAT_MS_MAX = 3_000
"""How long it takes a member to hear that partitions move, which the others wait for."""
_FETCH_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sasl:
    """A user of the cluster; the password is never shown."""

    username: str
    password: str = field(repr=False)
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"

    def config(self) -> Config:
        """In librdkafka's terms."""
        return {"sasl.mechanism": self.mechanism, "sasl.username": self.username, "sasl.password": self.password}


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One cluster and how patient to be with it."""

    bootstrap: str
    """host:port, several separated by commas."""
    tls: Tls | None = None
    sasl: Sasl | None = None
    client_id: str = "heliograph"
    group_prefix: str = ""
    """Before every group's name, where several installations share a cluster."""
    replication_factor: int = 3
    """Of the topics that are made; a cluster of fewer brokers needs less."""
    create_topics: bool = True
    """Whether topics that are missing are made; otherwise they are only checked."""
    request_timeout_s: float = 10.0
    delivery_timeout_s: float = 30.0
    """How long a message is tried before it counts as not delivered."""
    session_timeout_s: float = 15.0
    """How long a member that was killed may be gone before others take over; one that comes back within it moves nothing."""
    poll_interval_max_s: float = 60.0
    """How long a consumer may go without polling before its partitions are given to others."""

    def connection(self) -> Config:
        """What every client is told."""
        protocol = f"{'SASL_' if self.sasl else ''}{'SSL' if self.tls else 'PLAINTEXT'}"
        config: Config = {
            "bootstrap.servers": self.bootstrap,
            "client.id": self.client_id,
            "security.protocol": protocol,
            "socket.timeout.ms": _ms(max(self.request_timeout_s, 1.0)),
            "reconnect.backoff.max.ms": 2_000,
            # Its own lines repeat twenty times a second while a broker is away; the error callback says it too.
            "log_level": 0,
        }
        return config | (_encrypted(self.tls) if self.tls else {}) | (self.sasl.config() if self.sasl else {})

    def producer(self) -> Config:
        """Acknowledged by all in-sync replicas, each message once and in order."""
        return self.connection() | {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 1,
            "message.max.bytes": RECORD_BYTES_MAX,
            "delivery.timeout.ms": _ms(self.delivery_timeout_s),
            "queue.buffering.max.kbytes": 64 * 1024,
            # Bodies are compressed already.
            "compression.type": "none",
        }

    def consumer(self, group: str, member: str) -> Config:
        """A static member that commits by hand and never skips on its own."""
        session_ms = _ms(self.session_timeout_s)
        return self.connection() | {
            "group.id": group,
            "group.instance.id": member,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": min(max(session_ms // _HEARTBEATS_PER_SESSION, 1), _HEARTBEAT_MS_MAX),
            # The thread that polls librdkafka stops by itself after poll_interval_max_s.
            "max.poll.interval.ms": max(session_ms, 1_000),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "check.crcs": True,
            "fetch.max.bytes": _FETCH_BYTES_MAX,
            "fetch.message.max.bytes": _FETCH_BYTES_MAX // 4,
            "queued.max.messages.kbytes": _FETCH_BYTES_MAX // 1024,
            "fetch.wait.max.ms": 250,
        }


def _encrypted(tls: Tls) -> Config:
    """In librdkafka's terms."""
    given = {
        "ssl.ca.location": tls.ca_file,
        "ssl.certificate.location": tls.certificate_file,
        "ssl.key.location": tls.key_file,
        "ssl.key.password": tls.key_password,
    }
    config: Config = {name: str(value) for name, value in given.items() if value is not None}
    config["enable.ssl.certificate.verification"] = tls.verify
    config["ssl.endpoint.identification.algorithm"] = "https" if tls.verify else "none"
    return config


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
