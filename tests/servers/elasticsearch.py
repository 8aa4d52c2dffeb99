"""An Elasticsearch node from its plain jars, once per test run: `elasticsearch().url`."""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.maven import cache_folder, fetched, require_java
from tests.servers.process import Server, free_ports

VERSION = "9.5.3"
CONTENT_BYTES_MAX = 8 * 1024 * 1024
"""What the test server takes in one request; 100 MB is the default."""
_JAVA_LEAST = 21
_POM = Path(__file__).with_name("elasticsearch.pom.xml")
_SOURCES = Path(__file__).with_name("elasticsearch")
_QUICK = ("-Xms384m", "-Xmx384m", "-XX:TieredStopAtLevel=1")
_JVM = (
    "-XX:+UseSerialGC",
    "--add-modules=jdk.incubator.vector",
    "--enable-native-access=org.elasticsearch.nativeaccess,org.apache.lucene.core",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dlog4j2.disable.jmx=true",
    "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false",
    "-Des.distribution.type=zip",
    "--add-modules=org.elasticsearch.server,org.elasticsearch.logging,jdk.net,jdk.management",
)
_SETTINGS = """
cluster.name: heliograph-test
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
discovery.type: single-node
path.data: {folder}/data
path.logs: {folder}/logs
http.max_content_length: {content_bytes}b
cluster.routing.allocation.disk.threshold_enabled: false
cluster.max_shards_per_node: 5000
"""
_LOG4J = """
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""
_MODULE = """name={name}
description={name}
version={version}
elasticsearch.version={version}
java.version=21
classname={class_name}
{more}
"""


@dataclass(frozen=True, slots=True)
class Elasticsearch:
    """A running node."""

    url: str
    server: Server


@functools.cache
def elasticsearch() -> Elasticsearch:
    """The one that all tests share: use datasets of your own. Skips where Java or Maven is missing."""
    return start_elasticsearch()


def start_elasticsearch(jvm: tuple[str, ...] = _QUICK, content_bytes_max: int = CONTENT_BYTES_MAX) -> Elasticsearch:
    """A node of one's own, to kill and start again with its data and ports."""
    require_java(0)
    java = _java()
    home = _home(java)
    folder = Path(tempfile.mkdtemp(prefix="heliograph-elasticsearch-"))
    port, transport = free_ports(2)
    conf = folder / "conf"
    conf.mkdir()
    settings = _SETTINGS.format(http=port, transport=transport, folder=folder, content_bytes=content_bytes_max)
    (conf / "elasticsearch.yml").write_text(settings)
    (conf / "log4j2.properties").write_text(_LOG4J)
    paths = [f"-Des.path.home={home}", f"-Des.path.conf={conf}", "--module-path", str(home / "lib")]
    command = [str(java), *jvm, *_JVM, *paths, "-cp", str(home / "classes"), "OneNode", str(home), str(conf)]
    server = Server(command, folder, lambda _: _is_ready(port))
    return Elasticsearch(f"http://127.0.0.1:{port}", server)


def _java() -> Path:
    """The program `java` of the oldest development kit that fits; skips or fails the test when there is none."""
    found = {version: java for java in _javas() if (version := _version(java)) >= _JAVA_LEAST}
    if found:
        return found[min(found)]
    what = f"a Java development kit {_JAVA_LEAST} or newer (apt install openjdk-{_JAVA_LEAST}-jdk-headless)"
    if os.environ.get("HELIOGRAPH_REQUIRE_SERVERS") == "1":
        pytest.fail(f"real servers are required: install {what}", pytrace=False)
    pytest.skip(f"real servers need {what}")


def _javas() -> Iterator[Path]:
    places = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if "JAVA_HOME" in os.environ else []
    on_path = shutil.which("java")
    if on_path is not None:
        places.append(Path(on_path).resolve())
    places += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for java in places:
        if java.is_file() and java.with_name("javac").is_file():
            yield java


def _version(java: Path) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    match = re.search(r'version "(\d+)', said.stderr)
    return int(match[1]) if match else 0


def _home(java: Path) -> Path:
    """The folder that the server calls its home, made in the cache when it is not there; whole or not at all."""
    jars = fetched(f"elasticsearch-{VERSION}", ["-f", str(_POM), "dependency:copy-dependencies"])
    sources = sorted(_SOURCES.glob("*.java"))
    digest = hashlib.sha256(b"".join(s.read_bytes() for s in (Path(__file__), *sources))).hexdigest()[:12]
    home = cache_folder() / f"elasticsearch-{VERSION}-home-{digest}"
    if home.is_dir():
        return home
    half = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
    try:
        _lay_out(java, jars, sources, half)
        half.rename(home)
    except OSError:
        # Another run was quicker.
        if not home.is_dir():
            raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return home


def _lay_out(java: Path, jars: Path, sources: list[Path], home: Path) -> None:
    transport, endpoints, classes = (
        home / "modules" / "transport-netty4",
        home / "modules" / "endpoints",
        home / "classes",
    )
    for folder in (home / "lib", home / "plugins", transport, endpoints, classes):
        folder.mkdir(parents=True)
    of_transport = ("netty-", "transport-netty4-", "elasticsearch-ssl-config-")
    for jar in jars.glob("*.jar"):
        (transport if jar.name.startswith(of_transport) else home / "lib").joinpath(jar.name).hardlink_to(jar)
    compiler = [str(java.with_name("javac")), "--release", str(_JAVA_LEAST), "-nowarn", "-cp", f"{jars}/*"]
    compiler += ["-d", str(classes), *map(str, sources)]
    said = subprocess.run(compiler, capture_output=True, text=True, timeout=120, check=False)
    if said.returncode != 0:
        pytest.fail(f"the server's launcher does not compile: {said.stderr[-2000:]}", pytrace=False)
    with zipfile.ZipFile(endpoints / "endpoints.jar", "w") as jar_file:
        for path in sorted(classes.glob("Endpoints*.class")):
            jar_file.write(path, path.name)
            path.unlink()
    netty = "org.elasticsearch.transport.netty4"
    _describe(transport, f"{netty}.Netty4Plugin", f"modulename={netty}")
    _describe(endpoints, "Endpoints", "")


def _describe(module: Path, class_name: str, more: str) -> None:
    text = _MODULE.format(name=module.name, version=VERSION, class_name=class_name, more=more)
    (module / "plugin-descriptor.properties").write_text(text)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
