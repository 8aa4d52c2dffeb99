"""A Kafka broker of one node (KRaft), once per test run: `broker().bootstrap`."""

from __future__ import annotations

import base64
import functools
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.servers.maven import fetched, require_java
from tests.servers.process import Server, free_ports

VERSION = "4.4.0"
_HERE = Path(__file__).parent
_JAVA = ("java", "-Xms192m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_LOG4J = """<Configuration status="WARN"><Appenders><Console name="out"><PatternLayout pattern="%p %m%n"/></Console></Appenders>
<Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers></Configuration>"""
# Topics are made on demand here, as by default: whoever only asks about a topic must not make it.
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker."""

    bootstrap: str
    server: Server


@functools.cache
def broker() -> Broker:
    """The one that all tests share: use topic and group names of your own. Skips where Java or Maven is missing."""
    require_java(17)
    return start_broker()


def start_broker() -> Broker:
    """A broker of one's own, to kill and start again."""
    jars = fetched(f"kafka-{VERSION}", ["-f", str(_HERE / "kafka.pom.xml"), "dependency:copy-dependencies"])
    folder = Path(tempfile.mkdtemp(prefix="heliograph-kafka-"))
    port, controller = free_ports(2)
    properties = folder / "server.properties"
    properties.write_text(_PROPERTIES.format(port=port, controller=controller, data=folder / "data"))
    (folder / "log4j2.xml").write_text(_LOG4J)
    java = [*_JAVA, f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}", "-cp", f"{jars}/*"]
    # Never with a dash in front, which would be taken for an option.
    cluster = base64.urlsafe_b64encode(b"h" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=90,
    )
    server = Server([*java, "kafka.Kafka", str(properties)], folder, lambda log: "Kafka Server started" in log)
    return Broker(f"127.0.0.1:{port}", server)
