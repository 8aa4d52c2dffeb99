"""Kafka brokers (KRaft): `broker()` is one that all tests share, once per test run; others are of one's own, to kill and start again."""

from __future__ import annotations

import base64
import functools
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.servers.maven import fetched, java, require_java
from tests.servers.process import Server, free_ports

VERSION = "4.4.0"
_JAVA_LEAST = 17
_HERE = Path(__file__).parent
_JVM = ("-Xms64m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_LOG4J = """<Configuration status="WARN"><Appenders><Console name="out"><PatternLayout pattern="%p %m%n"/></Console></Appenders>
<Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers></Configuration>"""
# Topics are made on demand here, as by default: whoever only asks about a topic must not make it.
_PROPERTIES = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "true",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
}


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker."""

    bootstrap: str
    server: Server


@dataclass(frozen=True, slots=True)
class Cluster:
    """Running brokers, numbered from 1; each may be killed and started again."""

    bootstrap: str
    nodes: Mapping[int, Server]


@functools.cache
def broker() -> Broker:
    """The one that all tests share: use topic and group names of your own. Skips where Java or Maven is missing."""
    return start_broker()


def start_broker(
    listeners: Sequence[str] = (), more: Mapping[str, str] | None = None, format_with: Sequence[str] = ()
) -> Broker:
    """A broker of one's own, with further `listeners` (NAME://host:port), settings, and switches of the storage tool."""
    require_java(_JAVA_LEAST)
    port, controller = free_ports(2)
    server = _node(1, {1: controller}, [f"PLAINTEXT://127.0.0.1:{port}", *listeners], more or {}, format_with)
    return Broker(f"127.0.0.1:{port}", server)


def start_cluster(nodes: int = 3) -> Cluster:
    """Brokers that are controllers too; topics of theirs may have as many replicas, of which two must be in sync."""
    require_java(_JAVA_LEAST)
    numbers, ports = range(1, nodes + 1), free_ports(2 * nodes)
    brokers, controllers = dict(zip(numbers, ports[::2], strict=True)), dict(zip(numbers, ports[1::2], strict=True))
    cluster_id = _cluster_id()
    more = {"default.replication.factor": str(nodes), "min.insync.replicas": str(min(nodes, 2))}

    def start(number: int) -> Server:
        listener = f"PLAINTEXT://127.0.0.1:{brokers[number]}"
        return _node(number, controllers, [listener], more, (), cluster_id)

    # At the same time, since none is ready before most are.
    with ThreadPoolExecutor(nodes) as pool:
        servers = dict(zip(numbers, pool.map(start, numbers), strict=True))
    return Cluster(",".join(f"127.0.0.1:{port}" for port in brokers.values()), servers)


def _node(
    number: int,
    controllers: Mapping[int, int],
    listeners: Sequence[str],
    more: Mapping[str, str],
    format_with: Sequence[str],
    cluster_id: str | None = None,
) -> Server:
    jars = fetched(f"kafka-{VERSION}", ["-f", str(_HERE / "kafka.pom.xml"), "dependency:copy-dependencies"])
    folder = Path(tempfile.mkdtemp(prefix="heliograph-kafka-"))
    said = {**_properties(number, controllers, listeners, folder / "data"), **more}
    properties = folder / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in said.items()))
    (folder / "log4j2.xml").write_text(_LOG4J)
    logged = f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}"
    command = [str(java(_JAVA_LEAST)), *_JVM, logged, "-cp", f"{jars}/*"]
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id or _cluster_id(), "-c", str(properties)]
    subprocess.run([*command, *tool, *format_with], cwd=folder, check=True, capture_output=True, timeout=90)
    return Server([*command, "kafka.Kafka", str(properties)], folder, lambda log: "Kafka Server started" in log)


def _properties(number: int, controllers: Mapping[int, int], listeners: Sequence[str], data: Path) -> dict[str, str]:
    copies, in_sync = str(len(controllers)), str(min(len(controllers), 2))
    return _PROPERTIES | {
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in controllers.items()),
        "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{controllers[number]}"]),
        "advertised.listeners": ",".join(listeners),
        "log.dirs": str(data),
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def _cluster_id() -> str:
    # Never with a dash in front, which would be taken for an option.
    return base64.urlsafe_b64encode(b"h" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
