"""A role that cannot use its engine says so in one sentence and ends: 78 when somebody must change something, 69 when it is away."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.oracle.platform_under_test import free_port
from tests.servers.cassandra import cassandra
from tests.servers.kafka_secured import PASSWORD, SCRAM_USER, secured_broker
from tests.servers.registry import registry_url
from tests.servers.s3 import READER_ACCESS_KEY, READER_SECRET_KEY, s3

ENDED_S = 60.0
SECRET = "wisteria"


def started(folder: Path, config: str, *command: str) -> tuple[int, str]:
    """Exit code and the one sentence; whatever else was said has no traceback and no secret in it."""
    file = folder / "heliograph.yaml"
    file.write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "ops", *command, "--config", str(file), "--data-dir", str(folder / "data")],
        capture_output=True,
        text=True,
        timeout=ENDED_S,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said and SECRET not in said and PASSWORD not in said
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    errors = [line["msg"] for line in lines if line["level"] == "error"]
    assert len(errors) == 1, done.stderr
    return done.returncode, errors[0]


@pytest.mark.parametrize(
    ("command", "config"),
    [
        (("agent",), "bus: {{engine: kafka, kafka: {{bootstrap: '127.0.0.1:{port}', request_timeout: 2s}}}}"),
        (("router", "search"), "search: {{engine: elasticsearch, elasticsearch: {{urls: ['http://127.0.0.1:{port}']}}}}"),
        (("router", "archive"), "archive: {{engine: s3, s3: {{bucket: b, endpoint_url: 'http://127.0.0.1:{port}',"
                                " access_key_id: a, secret_access_key: {secret}, connect_timeout: 1s}}}}"),
        (("router", "tsdb"), "tsdb: {{engine: cassandra, cassandra: {{hosts: [127.0.0.1], port: {port}, datacenter: dc,"
                             " connect_timeout: 2s}}}}"),
    ],
)  # fmt: skip
def test_an_engine_that_is_away(tmp_path: Path, command: tuple[str, ...], config: str) -> None:
    port = free_port()
    code, sentence = started(tmp_path, config.format(port=port, secret=SECRET), *command)
    assert code == 69
    assert str(port) in sentence


def test_a_registry_that_is_away_holds_up_nobody(tmp_path: Path) -> None:
    config = (
        f"registry: {{engine: confluent, confluent: {{url: 'http://127.0.0.1:{free_port()}'}}}}\n"
        f"archive: {{engine: s3, s3: {{bucket: b, endpoint_url: 'http://127.0.0.1:{free_port()}', connect_timeout: 1s,"
        f" access_key_id: a, secret_access_key: {SECRET}}}}}"
    )
    code, sentence = started(tmp_path, config, "router", "archive")
    assert code == 69 and "registry" not in sentence


def test_something_else_at_the_place_of_elasticsearch(tmp_path: Path) -> None:
    config = f"search: {{engine: elasticsearch, elasticsearch: {{urls: ['{registry_url()}']}}}}"
    code, sentence = started(tmp_path, config, "query")
    # A proxy that speaks for a server that is away says as little.
    assert code == 69 and "it is no Elasticsearch" in sentence


@pytest.mark.timeout(300)
def test_what_somebody_must_change_on_real_servers(tmp_path: Path) -> None:
    own = uuid.uuid4().hex[:10]
    bucket = s3().make_read_only_bucket(f"read-only-{own}")
    secured = secured_broker()
    node = cassandra()
    keys = f"access_key_id: {READER_ACCESS_KEY}, secret_access_key: {READER_SECRET_KEY}"
    cases = {
        "read-only bucket": (
            f"archive: {{engine: s3, s3: {{bucket: {bucket}, endpoint_url: '{s3().url}', path_style: true, {keys}}}}}",
            ("router", "archive"),
            "write",
        ),
        "wrong secret": (
            f"archive: {{engine: s3, s3: {{bucket: {bucket}, endpoint_url: '{s3().url}', path_style: true,"
            f" access_key_id: {READER_ACCESS_KEY}, secret_access_key: {SECRET}}}}}",
            ("router", "archive"),
            "secret",
        ),
        "wrong data center": (
            f"tsdb: {{engine: cassandra, cassandra: {{hosts: [127.0.0.1], port: {node.port}, datacenter: moon}}}}",
            ("router", "tsdb"),
            "datacenter1",
        ),
        "missing topic": (
            f"bus: {{engine: kafka, kafka: {{bootstrap: '{secured.sasl}', create_topics: false, username: {SCRAM_USER},"
            f" password: {PASSWORD}, tls: {{ca_file: '{secured.ca_file}'}}}}}}",
            ("agent",),
            "telemetry",
        ),
        "expired certificate": (
            f"bus: {{engine: kafka, kafka: {{bootstrap: '{secured.expired}', username: {SCRAM_USER},"
            f" password: {PASSWORD}, tls: {{ca_file: '{secured.ca_file}'}}}}}}",
            ("router", "archive"),
            "has expired",
        ),
        "wrong password": (
            f"bus: {{engine: kafka, kafka: {{bootstrap: '{secured.sasl}', username: {SCRAM_USER},"
            f" password: {SECRET}, tls: {{ca_file: '{secured.ca_file}'}}}}}}",
            ("agent",),
            "password",
        ),
    }
    for number, (name, (config, command, word)) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        code, sentence = started(folder, config, *command)
        assert (code, word in sentence) == (78, True), f"{name}: {code} {sentence}"
