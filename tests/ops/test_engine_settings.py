"""Settings of the real engines: what is missing, where secrets come from, and that none is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops import engine_clients
from ops.errors import ConfigError
from ops.settings import Settings, masked, revealed
from ops.settings_load import load

ALL = """
bus:
  engine: kafka
  kafka:
    bootstrap: "k1:9092,k2:9092"
    username: u
    password: hush-kafka
    mechanism: SCRAM-SHA-256
    tls: {ca_file: /ca.pem, key_password: hush-key}
    create_topics: false
registry:
  engine: confluent
  confluent: {url: "http://registry:8081/apis", username: u, password: hush-registry}
search:
  engine: elasticsearch
  elasticsearch: {urls: ["https://e1:9200"], api_key: hush-elastic, tls: {}, dataset: shop}
archive:
  engine: s3
  s3: {bucket: b, access_key_id: id, secret_access_key: hush-s3, endpoint_url: "http://s3:9000", path_style: true}
tsdb:
  engine: cassandra
  cassandra: {hosts: [c1, c2], datacenter: dc1, username: u, password: hush-cassandra, replication_factor: 2}
"""


def loaded(folder: Path, text: str) -> Settings:
    path = folder / "heliograph.yaml"
    path.write_text(text)
    return load(path, {}, {})


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    return [str(problem) for problem in caught.value.problems]


def test_every_engine_gets_what_the_file_says(tmp_path: Path) -> None:
    settings = loaded(tmp_path, ALL)
    kafka = engine_clients.kafka(settings, "agent")
    assert (kafka.bootstrap, kafka.create_topics, kafka.client_id) == ("k1:9092,k2:9092", False, "heliograph-agent")
    assert kafka.sasl is not None and (kafka.sasl.mechanism, kafka.sasl.password) == ("SCRAM-SHA-256", "hush-kafka")
    assert kafka.tls is not None and (kafka.tls.ca_file, kafka.tls.key_password) == (Path("/ca.pem"), "hush-key")
    elastic = engine_clients.elasticsearch(settings)
    assert (elastic.urls, elastic.api_key, elastic.dataset) == (("https://e1:9200",), "hush-elastic", "shop")
    assert elastic.tls is not None and elastic.tls.verify
    bucket = engine_clients.s3(settings)
    assert (bucket.bucket, bucket.secret_access_key, bucket.path_style) == ("b", "hush-s3", True)
    cassandra = engine_clients.cassandra(settings)
    assert (cassandra.hosts, cassandra.datacenter, cassandra.password) == (("c1", "c2"), "dc1", "hush-cassandra")
    assert cassandra.retention_s == settings.tsdb.retention


def test_no_secret_is_shown_anywhere(tmp_path: Path) -> None:
    settings = loaded(tmp_path, ALL)
    clients = [
        engine_clients.kafka(settings, "x"), engine_clients.elasticsearch(settings), engine_clients.s3(settings),
        engine_clients.cassandra(settings), engine_clients.confluent(settings),
    ]  # fmt: skip
    assert "hush" not in f"{masked(settings)} {settings!r} {clients!r}"
    assert Settings.model_validate(revealed(settings)) == settings


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bus: {engine: kafka}", "heliograph.yaml:1: bus.kafka.bootstrap: this key is missing: the engine kafka needs it"),
        ("tsdb:\n  engine: cassandra\n  cassandra: {hosts: [a]}",
         "heliograph.yaml:3: tsdb.cassandra.datacenter: this key is missing: the engine cassandra needs it"),
        ("search: {engine: opensearch}", "heliograph.yaml:1: search.engine: 'tantivy' or 'elasticsearch' is expected"),
        ("bus:\n  kafka:\n    bootstrp: x", "heliograph.yaml:3: bus.kafka.bootstrp: unknown key; did you mean bootstrap?"),
        ("tsdb:\n  cassandra: {replication_factor: 0}",
         "heliograph.yaml:2: tsdb.cassandra.replication_factor: at least 1 is expected"),
        ("bus:\n  kafka: {tls: {verify: maybe}}", "heliograph.yaml:2: bus.kafka.tls.verify: true or false is expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from the file\n")
    path = tmp_path / "heliograph.yaml"
    path.write_text(f"bus: {{engine: kafka, kafka: {{bootstrap: 'k:1', username: u, password_file: '{secret}'}}}}")
    settings = load(path, {"HELIOGRAPH_ARCHIVE__S3__SECRET_ACCESS_KEY": "12"}, {})
    assert settings.bus.kafka.password is not None and settings.bus.kafka.password.get_secret_value() == "from the file"
    assert settings.archive.s3.secret_access_key is not None
    assert settings.archive.s3.secret_access_key.get_secret_value() == "12"


def test_a_secret_said_twice_is_refused(tmp_path: Path) -> None:
    text = "bus:\n  kafka:\n    password: a\n    password_file: /b\n"
    assert problems(tmp_path, text) == ["heliograph.yaml:4: bus.kafka.password: said twice: here, and by password_file"]
