"""How to reach the engines of production: one section each, under the part of the platform that they serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StrictBool, StrictStr

from ops.setting_types import Count, Duration, Port, Section, Size


class TlsSettings(Section):
    """Encryption; `tls: {}` is enough where the system's authorities know the server."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    """Of this client, where the server asks for one."""
    key_file: Path | None = None
    key_password: SecretStr | None = None
    verify: StrictBool = True


class KafkaSettings(Section):
    """A Kafka cluster as the bus."""

    bootstrap: StrictStr = ""
    """host:port, several separated by commas."""
    tls: TlsSettings | None = None
    username: StrictStr = ""
    """With a password, SASL is used."""
    password: SecretStr | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    group_prefix: StrictStr = ""
    """Before every group's name, where several installations share a cluster."""
    replication_factor: Count = 3
    """Of the topics that are made."""
    create_topics: StrictBool = True
    """Whether topics that are missing are made; otherwise they are checked only."""
    request_timeout: Duration = 10.0
    delivery_timeout: Duration = 30.0


class ConfluentSettings(Section):
    """A schema registry with Confluent's API."""

    url: StrictStr = ""
    tls: TlsSettings | None = None
    username: StrictStr = ""
    password: SecretStr | None = None
    request_timeout: Duration = 5.0


class ElasticsearchSettings(Section):
    """Elasticsearch as the store of logs and spans."""

    urls: tuple[StrictStr, ...] = ()
    tls: TlsSettings | None = None
    username: StrictStr = ""
    password: SecretStr | None = None
    api_key: SecretStr | None = None
    dataset: Annotated[str, Field(strict=True, pattern=r"^[a-z0-9][a-z0-9_.]{0,60}$")] = "generic"
    """Data streams are logs-<dataset>.otel-<tenant> and traces-<dataset>.otel-<tenant>."""
    replicas: Annotated[int, Field(strict=True, ge=0, le=20)] = 1
    request_timeout: Duration = 30.0


class S3Settings(Section):
    """S3, or what speaks like it, as the archive."""

    bucket: StrictStr = ""
    endpoint_url: StrictStr = ""
    """Empty: Amazon's."""
    region: StrictStr = "us-east-1"
    prefix: StrictStr = ""
    path_style: StrictBool = False
    tls: TlsSettings | None = None
    access_key_id: StrictStr = ""
    """Empty: the environment's, the shared file's or the machine's own."""
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    multipart_bytes: Size = 16 * 1024**2
    connect_timeout: Duration = 5.0
    read_timeout: Duration = 30.0


class CassandraSettings(Section):
    """Cassandra as the store of metrics."""

    hosts: tuple[StrictStr, ...] = ()
    port: Port = 9042
    datacenter: StrictStr = ""
    """As `nodetool status` names it."""
    keyspace: Annotated[str, Field(strict=True, pattern=r"^[a-z][a-z0-9_]{0,47}$")] = "heliograph"
    replication_factor: Count = 3
    """Of a keyspace that is made."""
    tls: TlsSettings | None = None
    username: StrictStr = ""
    password: SecretStr | None = None
    connect_timeout: Duration = 10.0
    request_timeout: Duration = 15.0
