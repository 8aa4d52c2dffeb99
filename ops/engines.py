"""From settings to engines: each function opens what the settings choose, checked, and imports only that.

A real engine that is reached but cannot serve us raises its package's ConfigError, one that is away its UnavailableError.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ops.engine_clients import cassandra, confluent, elasticsearch, kafka, s3

if TYPE_CHECKING:
    from pathlib import Path

    from archive.port import ObjectStore
    from bus.port import Bus
    from bus.registry import Registry
    from ops.role_context import RoleContext
    from ops.settings import Settings
    from search.port import DocumentReader
    from sinks.port import Sink
    from tsdb.port import AuditedBlockStore


_CHECK_S: Final = 15.0
"""How long a start waits for an archive that is away; what is in flight is tried for longer."""


def open_bus(settings: Settings, context: RoleContext) -> Bus:
    """The bus of a role, with every topic there. Raises BusError."""
    return open_bus_of(settings, context.data_dir, context.name)


def open_bus_of(settings: Settings, data_dir: Path, client_id: str) -> Bus:
    """The bus, with every topic there, for `client_id`, as Kafka's own logs name it. Raises BusError."""
    from heliograph import contracts

    topics = {topic.name: topic.partitions for topic in contracts.topics().values()}
    if settings.bus.engine == "kafka":
        from bus.kafka import KafkaBus

        cluster = KafkaBus(kafka(settings, client_id))
        cluster.check()
        cluster.create_topics(topics)
        return cluster
    from bus.sqlite import SqliteBus

    bus = SqliteBus(
        data_dir / "bus" / "bus.db",
        session_timeout_s=settings.bus.session_timeout,
        file_bytes_max=settings.bus.file_bytes_max,
    )
    bus.create_topics(topics)
    return bus


def open_registry(settings: Settings, context: RoleContext) -> Registry:
    """The registry, with every schema in it; into a real one they go from a thread, because its outage must hold up nobody.

    Raises RegistryConfigError.
    """
    if settings.registry.engine == "confluent":
        from bus.registry import RegistryUnavailableError
        from ops.schema_ids import start_learning

        remote = confluent(settings)
        try:
            remote.check()
        except RegistryUnavailableError as error:
            context.log.warning("the schema registry is away", reason=str(error))
        start_learning(remote, context.stop, context.log)
        return remote
    from bus.embedded_registry import EmbeddedRegistry
    from heliograph import contracts

    registry = EmbeddedRegistry(context.data_dir / "bus" / "registry.db")
    for topic in contracts.topics().values():
        registry.register(f"{topic.name}-value", contracts.schema(topic.schema))
    return registry


def open_document_sink(settings: Settings, context: RoleContext) -> Sink:
    """The sink of logs and spans. Raises SearchError."""
    from sinks.decode import WriterSchemas
    from sinks.documents import DocumentSink

    schemas = WriterSchemas(open_registry(settings, context))
    if settings.search.engine == "elasticsearch":
        from search.elastic_writer import ElasticWriter

        remote = ElasticWriter(elasticsearch(settings))
        remote.check()
        return DocumentSink(remote, schemas)
    from ops.refilling import Refilling
    from ops.store_retention import Retiring
    from search.tantivy_writer import TantivyWriter

    folder = context.data_dir / "search"
    writer = TantivyWriter(folder)
    return Refilling(Retiring(DocumentSink(writer, schemas), writer.retire, settings.search.retention), folder)


def open_documents(settings: Settings, context: RoleContext) -> DocumentReader:
    """The reading side of logs and spans. Raises SearchError."""
    if settings.search.engine == "elasticsearch":
        from search.elastic_reader import ElasticReader

        reader = ElasticReader(elasticsearch(settings))
        reader.check()
        return reader
    from search.tantivy_reader import TantivyReader

    return TantivyReader(context.data_dir / "search")


def open_object_sink(settings: Settings, context: RoleContext) -> Sink:
    """The sink of the archive. Raises ArchiveError."""
    import secrets

    from sinks.decode import WriterSchemas
    from sinks.objects import ObjectSink

    schemas = WriterSchemas(open_registry(settings, context))
    return ObjectSink(_objects(settings, context), schemas, secrets.token_hex(6))


def open_sample_sink(settings: Settings, context: RoleContext) -> Sink:
    """The sink of metrics. Raises TsdbError."""
    import secrets

    from ops.refilling import Refilling
    from ops.store_retention import Retiring, retire_blocks
    from sinks.decode import WriterSchemas
    from sinks.samples import SampleSink

    blocks = open_blocks(settings, context)
    sink = SampleSink(blocks, WriterSchemas(open_registry(settings, context)), secrets.token_hex(6))
    retiring = Retiring(sink, retire_blocks(blocks), settings.tsdb.retention)
    return retiring if settings.tsdb.engine == "cassandra" else Refilling(retiring, context.data_dir / "tsdb")


def open_blocks(settings: Settings, context: RoleContext) -> AuditedBlockStore:
    """The store of metrics, both sides. Raises TsdbError."""
    if settings.tsdb.engine == "cassandra":
        from tsdb.cassandra import CassandraBlocks

        blocks = CassandraBlocks(cassandra(settings))
        blocks.check()
        return blocks
    from tsdb.sqlite import SqliteBlocks

    return SqliteBlocks(context.data_dir / "tsdb")


def _objects(settings: Settings, context: RoleContext) -> ObjectStore:
    if settings.archive.engine == "s3":
        from archive.s3 import S3Objects

        client = s3(settings)
        S3Objects(replace(client, call_timeout_s=_CHECK_S)).check()
        return S3Objects(client)
    from archive.local import LocalObjects

    return LocalObjects(context.data_dir / "archive")
