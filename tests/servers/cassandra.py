"""Cassandra nodes: `cassandra()` is one that all tests share, once per test run; others are of one's own, to kill and start again."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster

from tests.servers.maven import fetched, java, require_java
from tests.servers.process import READY_S_MAX, Server, free_ports
from tsdb.cassandra_settings import CassandraSettings

VERSION = "5.0.9"
DATACENTER = "datacenter1"
USERNAME = PASSWORD = "cassandra"
"""The first user of a node that asks for one; it may do everything."""
MUTATION_BYTES_MAX = 4 * 1024 * 1024
"""Half a segment of the commit log of the small nodes."""
_JAVA_LEAST = 17
"""The oldest that is there is taken: 24 and later are too new for it."""
_HERE = Path(__file__).parent
_QUICK_START = ("-XX:TieredStopAtLevel=1",)
_LOGBACK = """<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%p %m%n</pattern></encoder>
</appender><root level="INFO"><appender-ref ref="out"/></root></configuration>"""


@dataclass(frozen=True, slots=True)
class Encryption:
    """A node's key and certificate, as a PKCS 12 file."""

    keystore: Path
    password: str


@dataclass(frozen=True, slots=True)
class Node:
    """A running node; its data and ports outlive the process."""

    hosts: tuple[str, ...]
    port: int
    datacenter: str
    server: Server

    def settings(self, **changes: Any) -> CassandraSettings:
        """In the keyspace that all tests of this node share, with keys of one's own."""
        own = CassandraSettings(
            self.hosts,
            self.port,
            self.datacenter,
            "heliograph_tests",
            replication_factor=1,
            space=uuid.uuid4().hex[:12],
        )
        return replace(own, **changes)

    @contextlib.contextmanager
    def session(self, keyspace: str = "heliograph_tests", like: CassandraSettings | None = None) -> Iterator[Any]:
        """The driver's own session in a keyspace, for looking behind the adapter; as the user of `like`, encrypted as there."""
        cluster = Cluster(
            list(self.hosts),
            port=self.port,
            protocol_version=4,
            ssl_context=like.tls.context() if like is not None and like.tls is not None else None,
            auth_provider=PlainTextAuthProvider(like.username, like.password) if like is not None else None,
        )
        try:
            yield cluster.connect(keyspace)
        finally:
            cluster.shutdown()


@functools.cache
def cassandra() -> Node:
    """The one that all tests share: use keyspaces or key prefixes of your own. Skips where Java or Maven is missing."""
    require_java(_JAVA_LEAST)
    return start_cassandra()


def start_cassandra(
    *, authenticated: bool = False, encryption: Encryption | None = None, heap: str = "256m", quick_start: bool = True
) -> Node:
    """A node of one's own. Without `quick_start` its code gets as fast as in production, and its commit log is as by default."""
    storage_port, ssl_storage_port, port = free_ports(3)
    return _start("127.0.0.1", storage_port, ssl_storage_port, port, authenticated, encryption, heap, quick_start)


def start_cluster(nodes: int = 2) -> tuple[Node, ...]:
    """Nodes on 127.0.0.1, 127.0.0.2, … of one cluster, all in DATACENTER."""
    storage_port, ssl_storage_port, port = free_ports(3)
    addresses = [f"127.0.0.{i + 1}" for i in range(nodes)]
    made = tuple(_start(each, storage_port, ssl_storage_port, port, False, None, "256m", True) for each in addresses)
    deadline = time.monotonic() + READY_S_MAX
    with made[0].session("system") as session:
        # Nodes are told of each other some seconds after they serve.
        while sum(row[0] is not None for row in session.execute("SELECT native_address FROM peers_v2")) < nodes - 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return made


def _start(
    address: str,
    storage_port: int,
    ssl_storage_port: int,
    port: int,
    authenticated: bool,
    encryption: Encryption | None,
    heap: str,
    quick_start: bool,
) -> Node:
    folder = Path(tempfile.mkdtemp(prefix="heliograph-cassandra-"))
    config = (
        (_HERE / "cassandra.yaml").read_text("utf-8").replace("client_encryption_options: {encryption}", "{encryption}")
    )
    (folder / "cassandra.yaml").write_text(
        config.format(
            address=address,
            storage_port=storage_port,
            ssl_storage_port=ssl_storage_port,
            port=port,
            joins=str(address != "127.0.0.1").lower(),
            data=folder / "data",
            segment="8MiB" if quick_start else "32MiB",
            sync="batch" if quick_start else "periodic",
            sync_period="" if quick_start else "commitlog_sync_period: 10s",
            authenticator="PasswordAuthenticator" if authenticated else "AllowAllAuthenticator",
            authorizer="CassandraAuthorizer" if authenticated else "AllowAllAuthorizer",
            encryption=f"client_encryption_options: {json.dumps(_encrypted(encryption))}",
        )
    )  # fmt: skip
    (folder / "logback.xml").write_text(_LOGBACK)
    ready = ["Startup complete", *(["Created default superuser role"] if authenticated else [])]
    server = Server(_command(folder, heap, quick_start), folder, lambda log: all(line in log for line in ready))
    # The role is there when it starts again.
    del ready[1:]
    return Node((address,), port, DATACENTER, server)


def _encrypted(encryption: Encryption | None) -> dict[str, str | bool]:
    if encryption is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "optional": False,
        "keystore": str(encryption.keystore),
        "keystore_password": encryption.password,
        "store_type": "PKCS12",
    }


def _command(folder: Path, heap: str, quick_start: bool) -> list[str]:
    pom = str(_HERE / "cassandra.pom.xml")
    jars = fetched(f"cassandra-{VERSION}", ["-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime"])
    (agent,) = jars.glob("jamm-*.jar")
    options = {
        "cassandra.config": f"file://{folder / 'cassandra.yaml'}",
        "cassandra.storagedir": folder / "data",
        "cassandra.logdir": folder,
        "logback.configurationFile": folder / "logback.xml",
        "cassandra-foreground": "yes",
        "cassandra.superuser_setup_delay_ms": 0,
        "cassandra.skip_wait_for_gossip_to_settle": 0,
        "cassandra.ring_delay_ms": 2000,
    }
    return [
        str(java(_JAVA_LEAST)),
        *(_HERE / "cassandra.jvm").read_text("utf-8").split(),
        *(_QUICK_START if quick_start else ()),
        f"-javaagent:{agent}",
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-Xss512k",
        "-XX:+UseSerialGC",
        "-XX:MaxDirectMemorySize=256m",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        *(f"-D{name}={value}" for name, value in options.items()),
        "-cp",
        f"{folder}:{jars}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]
