"""A schema registry with the Confluent API (Apicurio, in memory), once per test run: `registry_url()`."""

from __future__ import annotations

import functools
import http.client
import os
import tempfile
from pathlib import Path

from tests.servers.certificates import Certificate
from tests.servers.maven import fetched, java, require_java
from tests.servers.process import Server, free_ports

VERSION = "3.0.9"
_PATH = "/apis/ccompat/v7"
_JAVA_LEAST = 17
_JVM = ("-Xms64m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@functools.cache
def registry_url() -> str:
    """Of the one that all tests share: use subjects of your own. Skips where Java or Maven is missing."""
    url, _ = start_registry()
    return url


def start_registry(certificate: Certificate | None = None) -> tuple[str, Server]:
    """A registry of one's own; with a certificate the url is by https."""
    require_java(_JAVA_LEAST)
    # Unpacked by name, because the artifact's parent pom is not on Central.
    artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
    files = fetched(f"apicurio-{VERSION}", ["dependency:unpack", f"-Dartifact={artifact}"])
    (jar,) = [*files.glob("quarkus-run.jar"), *files.glob("*-runner.jar")]
    folder = Path(tempfile.mkdtemp(prefix="heliograph-registry-"))
    port, management, tls_port = free_ports(3)
    env = {
        **os.environ,
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": str(management),
        "QUARKUS_OTEL_SDK_DISABLED": "true",
        # In a file, so that it knows its ids again after it was killed.
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{folder / 'schemas'}",
    }
    if certificate is not None:
        env |= {
            "QUARKUS_HTTP_SSL_PORT": str(tls_port),
            "QUARKUS_HTTP_SSL_CERTIFICATE_FILES": str(certificate.certificate_file),
            "QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES": str(certificate.key_file),
        }
    command = [
        str(java(_JAVA_LEAST)),
        *_JVM,
        "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        "-jar",
        str(jar),
    ]
    server = Server(command, folder, lambda _: _answers(port), env)
    # It starts without any rule, where Confluent's starts with BACKWARD.
    assert _status(port, "PUT", "/config", b'{"compatibility":"BACKWARD"}') == 200
    if certificate is not None:
        return f"https://127.0.0.1:{tls_port}{_PATH}", server
    return f"http://127.0.0.1:{port}{_PATH}", server


def _answers(port: int) -> bool:
    try:
        return _status(port, "GET", "/subjects") == 200
    except OSError:
        return False


def _status(port: int, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, _PATH + path, body, {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        return connection.getresponse().status
    finally:
        connection.close()
