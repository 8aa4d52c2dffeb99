"""Kafka of three brokers, a registry, Elasticsearch, S3 and two Cassandra nodes below a run of the oracle."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from elasticsearch import Elasticsearch as Client

from archive.s3 import S3Objects
from archive.s3_settings import S3Settings
from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings
from bus.port import Bus
from heliograph import contracts
from tests.servers.cassandra import Node
from tests.servers.cassandra import start_cluster as start_cassandra
from tests.servers.elasticsearch import Elasticsearch, start_elasticsearch
from tests.servers.kafka import Cluster
from tests.servers.kafka import start_cluster as start_kafka
from tests.servers.process import Server
from tests.servers.registry import start_registry
from tests.servers.s3 import S3Server, start_s3
from tsdb.cassandra import CassandraBlocks
from tsdb.cassandra_settings import CassandraSettings

from .engines import Found
from .platform_under_test import wait_for
from .verdict import in_blocks, in_objects, oracle_id, text_is_intact

_PAGE = 1000
_GONE_S = 60.0
_STARTS_MAX = 3
_BUCKET = "oracle"


@dataclass(frozen=True, slots=True)
class RealServers:
    """Started once; each run gets topics, data streams, a prefix and a keyspace of its own."""

    kafka: Cluster
    registry_url: str
    registry: Server
    elasticsearch: Elasticsearch
    s3: S3Server
    cassandra: tuple[Node, ...]

    @classmethod
    def start(cls) -> RealServers:
        """All of them, ready; they end with this process."""
        url, registry = start_registry()
        bucket = start_s3()
        bucket.make_bucket(_BUCKET)
        return cls(start_kafka(3), url, registry, start_elasticsearch(), bucket, start_cassandra(2))

    def stop(self) -> None:
        """End them now."""
        others = (self.registry, self.elasticsearch.server, self.s3.server)
        for server in (*self.kafka.nodes.values(), *(node.server for node in self.cassandra), *others):
            server.kill()

    def fresh(self, name: str) -> RealEngines:
        """Engines that hold nothing; `name` is of lower case letters and digits. What an earlier run wrote is gone."""
        self._forget_topics()
        self._forget_keyspaces()
        client = Client(self.elasticsearch.url, request_timeout=60)
        client.options(ignore_status=404).indices.delete_data_stream(name="*.otel-*")
        for written in (self.s3.data / _BUCKET).glob("[!.]*"):
            shutil.rmtree(written, ignore_errors=True)
        return RealEngines(self, name)

    def _forget_keyspaces(self) -> None:
        """Their tables would fill the nodes' small heaps."""
        with self.cassandra[0].session("system") as session:
            session.default_timeout = 60.0
            names = [row[0] for row in session.execute("SELECT keyspace_name FROM system_schema.keyspaces")]
            for name in names:
                if not name.startswith("system"):
                    session.execute(f'DROP KEYSPACE "{name}"')

    def _forget_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        there = [topic for topic in admin.list_topics(timeout=30).topics if topic in contracts.topics()]
        if not there:
            return
        for done in admin.delete_topics(there, operation_timeout=30).values():
            done.result(30)
        wait_for("the topics are gone", lambda: not set(there) & set(admin.list_topics(timeout=30).topics), _GONE_S)


class RealEngines:
    """One run's share of the servers."""

    def __init__(self, servers: RealServers, name: str) -> None:
        self._of = servers
        self._name = name
        self._brokers = itertools.cycle(servers.kafka.nodes.values())
        self.servers: Mapping[str, Callable[[], Callable[[], None]]] = {
            "kafka": self._break_a_broker,
            "elasticsearch": lambda: _break(servers.elasticsearch.server),
            "rollover": self._roll_over,
            "cassandra": lambda: _break(servers.cassandra[1].server),
            "registry": lambda: _break(servers.registry),
            "s3": lambda: _break(servers.s3.server),
        }

    @property
    def config(self) -> str:
        """See Engines."""
        hosts = ", ".join(host for node in self._of.cassandra for host in node.hosts)
        return f"""
bus: {{engine: kafka, kafka: {{bootstrap: "{self._of.kafka.bootstrap}", group_prefix: "{self._name}."}}}}
registry: {{engine: confluent, confluent: {{url: "{self._of.registry_url}"}}}}
search: {{engine: elasticsearch, elasticsearch: {{urls: ["{self._of.elasticsearch.url}"], dataset: {self._name}, replicas: 0}}}}
archive:
  engine: s3
  s3:
    bucket: {_BUCKET}
    endpoint_url: {self._of.s3.url}
    path_style: true
    prefix: {self._name}/
    access_key_id: {self._of.s3.access_key}
    secret_access_key: {self._of.s3.secret_key}
tsdb:
  engine: cassandra
  cassandra:
    hosts: [{hosts}]
    port: {self._of.cassandra[0].port}
    datacenter: {self._of.cassandra[0].datacenter}
    keyspace: {self._name}
    replication_factor: 2
"""

    def bus(self) -> Bus:
        return KafkaBus(KafkaSettings(self._of.kafka.bootstrap, group_prefix=f"{self._name}."))

    def documents(self) -> Found:
        client = Client(self._of.elasticsearch.url, request_timeout=60)
        for stream in ("logs", "traces"):
            target = f"{stream}-{self._name}.otel-*"
            client.indices.refresh(index=target)
            for source in _sources(client, target):
                text = source["body"]["text"] if stream == "logs" else source["name"]
                record_id = oracle_id(source.get("attributes", {}), text)
                if record_id:
                    yield record_id, text_is_intact(record_id, text)

    def objects(self) -> Found:
        settings = S3Settings(
            _BUCKET,
            endpoint_url=self._of.s3.url,
            access_key_id=self._of.s3.access_key,
            secret_access_key=self._of.s3.secret_key,
            path_style=True,
            prefix=f"{self._name}/",
        )
        return in_objects(S3Objects(settings))

    def samples(self) -> Found:
        nodes = self._of.cassandra
        hosts = tuple(host for node in nodes for host in node.hosts)
        settings = CassandraSettings(
            hosts, port=nodes[0].port, datacenter=nodes[0].datacenter, keyspace=self._name, replication_factor=2
        )
        blocks = CassandraBlocks(settings)
        try:
            yield from in_blocks(blocks)
        finally:
            blocks.close()

    def _break_a_broker(self) -> Callable[[], None]:
        return _break(next(self._brokers))

    def _roll_over(self) -> Callable[[], None]:
        client = Client(self._of.elasticsearch.url, request_timeout=60)
        for stream in client.indices.resolve_index(name=f"*-{self._name}.otel-*")["data_streams"]:
            client.indices.rollover(alias=stream["name"])
        return lambda: None


def _break(server: Server) -> Callable[[], None]:
    server.kill()
    return lambda: _started_again(server)


def _started_again(server: Server) -> None:
    """A broker may give up while it starts, when the others are just being broken; somebody starts it again then."""
    for _ in range(_STARTS_MAX - 1):
        with contextlib.suppress(pytest.fail.Exception):
            server.start()
            return
    server.start()


def _sources(client: Client, target: str) -> Any:
    """Every document's source, in pages of a point in time."""
    pit = client.open_point_in_time(index=target, keep_alive="2m")["id"]
    after: Any = None
    while True:
        page = client.search(
            size=_PAGE, pit={"id": pit, "keep_alive": "2m"}, sort=[{"_shard_doc": "asc"}], search_after=after
        )["hits"]["hits"]
        if not page:
            break
        yield from (hit["_source"] for hit in page)
        after = page[-1]["sort"]
    client.close_point_in_time(id=pit)
