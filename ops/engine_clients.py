"""Settings in the words of each engine's adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.engine_settings import TlsSettings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from archive.s3_settings import S3Settings
    from bus.confluent_registry import ConfluentRegistry
    from bus.kafka_settings import KafkaSettings
    from bus.tls import Tls
    from ops.settings import Settings
    from search.elastic_settings import ElasticSettings
    from tsdb.cassandra_settings import CassandraSettings


def kafka(settings: Settings, client_id: str) -> KafkaSettings:
    """Of the cluster."""
    from bus.kafka_settings import KafkaSettings, Sasl

    said = settings.bus.kafka
    return KafkaSettings(
        bootstrap=said.bootstrap,
        tls=_tls(said.tls),
        sasl=Sasl(said.username, _text(said.password), said.mechanism) if said.username else None,
        client_id=f"heliograph-{client_id}",
        group_prefix=said.group_prefix,
        replication_factor=said.replication_factor,
        create_topics=said.create_topics,
        request_timeout_s=said.request_timeout,
        delivery_timeout_s=said.delivery_timeout,
        session_timeout_s=settings.bus.session_timeout,
    )


def confluent(settings: Settings) -> ConfluentRegistry:
    """A client of the registry; asks nothing yet."""
    from bus.confluent_registry import ConfluentRegistry

    said = settings.registry.confluent
    return ConfluentRegistry(
        said.url,
        user=said.username or None,
        password=_text(said.password),
        tls=_tls(said.tls),
        timeout_s=said.request_timeout,
    )


def elasticsearch(settings: Settings) -> ElasticSettings:
    """Of the cluster."""
    from search.elastic_settings import ElasticSettings

    said = settings.search.elasticsearch
    return ElasticSettings(
        urls=said.urls,
        username=said.username or None,
        password=_text(said.password) or None,
        api_key=_text(said.api_key) or None,
        tls=_tls(said.tls),
        dataset=said.dataset,
        replicas=said.replicas,
        request_timeout_s=said.request_timeout,
    )


def s3(settings: Settings) -> S3Settings:
    """Of the bucket."""
    from archive.s3_settings import S3Settings

    said = settings.archive.s3
    return S3Settings(
        bucket=said.bucket,
        endpoint_url=said.endpoint_url or None,
        region=said.region,
        access_key_id=said.access_key_id or None,
        secret_access_key=_text(said.secret_access_key) or None,
        session_token=_text(said.session_token) or None,
        prefix=said.prefix,
        path_style=said.path_style,
        tls=_tls(said.tls),
        multipart_bytes=said.multipart_bytes,
        connect_timeout_s=said.connect_timeout,
        read_timeout_s=said.read_timeout,
    )


def cassandra(settings: Settings) -> CassandraSettings:
    """Of the cluster; rows live as long as retention says."""
    from tsdb.cassandra_settings import CassandraSettings

    said = settings.tsdb.cassandra
    return CassandraSettings(
        hosts=said.hosts,
        port=said.port,
        datacenter=said.datacenter,
        keyspace=said.keyspace,
        replication_factor=said.replication_factor,
        username=said.username or None,
        password=_text(said.password) or None,
        tls=_tls(said.tls),
        connect_timeout_s=said.connect_timeout,
        request_timeout_s=said.request_timeout,
        retention_s=settings.tsdb.retention,
    )


def _tls(said: TlsSettings | None) -> Tls | None:
    from bus.tls import Tls

    if said is None:
        return None
    return Tls(said.ca_file, said.certificate_file, said.key_file, _text(said.key_password) or None, said.verify)


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
