"""`make servers`: the real engines for a person to play with, until Ctrl-C; `fetch` only fills the cache, once, before tests."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from _pytest.outcomes import OutcomeException
from rich.console import Console
from rich.table import Table

from tests.interop.java_program import class_path
from tests.servers import cassandra, elasticsearch, kafka, registry, s3
from tests.servers.maven import cache_folder

_EXIT_UNAVAILABLE: Final = 69
_BUCKET: Final = "heliograph"


@dataclass(frozen=True, slots=True)
class Engine:
    """One server: where its files are kept, how it starts, and how it is then reached."""

    name: str
    cached_as: str
    start: Callable[[], tuple[str, str]]
    """Address, and the YAML that Heliograph needs."""


def _kafka() -> tuple[str, str]:
    found = kafka.broker()
    return found.bootstrap, f"bus: {{engine: kafka, kafka: {{bootstrap: '{found.bootstrap}', replication_factor: 1}}}}"


def _registry() -> tuple[str, str]:
    url = registry.registry_url()
    return url, f"registry: {{engine: confluent, confluent: {{url: '{url}'}}}}"


def _elasticsearch() -> tuple[str, str]:
    url = elasticsearch.elasticsearch().url
    return url, f"search: {{engine: elasticsearch, elasticsearch: {{urls: ['{url}'], replicas: 0}}}}"


def _s3() -> tuple[str, str]:
    found = s3.s3()
    found.make_bucket(_BUCKET)
    keys = f"access_key_id: {found.access_key}, secret_access_key: {found.secret_key}"
    where = f"bucket: {_BUCKET}, endpoint_url: '{found.url}', path_style: true"
    return found.url, f"archive: {{engine: s3, s3: {{{where}, {keys}}}}}"


def _cassandra() -> tuple[str, str]:
    node = cassandra.cassandra()
    hosts = f"hosts: [{', '.join(node.hosts)}], port: {node.port}, datacenter: {node.datacenter}, replication_factor: 1"
    return f"{node.hosts[0]}:{node.port}", f"tsdb: {{engine: cassandra, cassandra: {{{hosts}}}}}"


ENGINES: Final = (
    Engine("Kafka", f"kafka-{kafka.VERSION}", _kafka),
    Engine("schema registry", f"apicurio-{registry.VERSION}", _registry),
    Engine("Elasticsearch", f"elasticsearch-{elasticsearch.VERSION}", _elasticsearch),
    Engine("S3", f"versitygw-{s3.VERSION}", _s3),
    Engine("Cassandra", f"cassandra-{cassandra.VERSION}", _cassandra),
)


def fetch(console: Console) -> int:
    """Start what was never fetched, once, so that no test waits for a download."""
    missing: list[tuple[str, Callable[[], object]]] = [
        (engine.name, engine.start) for engine in ENGINES if not (cache_folder() / engine.cached_as).exists()
    ]
    if not any(cache_folder().glob("interop-*")):
        missing.append(("Java's Avro", class_path))
    failed = 0
    for name, start in missing:
        with console.status(f"fetching {name}: minutes, the first time"):
            failed += not _started(console, name, start)
    return _EXIT_UNAVAILABLE if failed and os.environ.get("HELIOGRAPH_REQUIRE_SERVERS") == "1" else 0


def serve(console: Console) -> int:
    """Run all that can, say how to reach them, and end them at Ctrl-C."""
    table = Table(title="Real engines on this machine")
    for column in ("engine", "address"):
        table.add_column(column)
    settings: list[str] = []
    for engine in ENGINES:
        with console.status(f"starting {engine.name}"):
            try:
                address, yaml = engine.start()
            except OutcomeException as missing:
                console.print(f"{engine.name}: {missing}")
                continue
        table.add_row(engine.name, address)
        settings.append(yaml)
    if not settings:
        return _EXIT_UNAVAILABLE
    console.print(table)
    console.print(
        "Save these lines as real.yaml, then: heliograph up --config real.yaml. Ctrl-C here ends the servers.\n"
    )
    print("\n".join(settings), flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    return 0


def _started(console: Console, name: str, start: Callable[[], object]) -> bool:
    try:
        start()
    except OutcomeException as missing:
        console.print(f"{name}: {missing}")
        return False
    return True


if __name__ == "__main__":
    sys.exit((fetch if sys.argv[1:] == ["fetch"] else serve)(Console(stderr=True, highlight=False)))
