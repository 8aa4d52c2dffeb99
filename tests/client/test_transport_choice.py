from __future__ import annotations

import logging
from pathlib import Path

import pytest

from heliograph.agent_transport import DEFAULT_ENDPOINT, AgentTransport
from heliograph.kafka_settings import KafkaSettings, from_environment
from heliograph.testing import InMemoryTransport
from heliograph.transport_choice import Wanted, choose, open_transport
from tests.client.scripts import run


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "KAFKA_BROKERS", "KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_PASSWORD_FILE"):
        monkeypatch.delenv(f"HELIOGRAPH_{name}", raising=False)


def test_without_anything_it_is_the_agent() -> None:
    for wanted in ("auto", "agent"):
        assert choose(wanted) == DEFAULT_ENDPOINT
    assert isinstance(open_transport(choose()), AgentTransport)


def test_brokers_make_it_kafka_and_an_endpoint_of_the_caller_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(brokers="b:9092") == KafkaSettings("b:9092")
    monkeypatch.setenv("HELIOGRAPH_KAFKA_BROKERS", "of-environment:9092")
    assert choose() == choose("kafka") == KafkaSettings("of-environment:9092")
    assert choose(brokers="b:9092") == KafkaSettings("b:9092")
    assert choose(endpoint="http://a:1") == "http://a:1"
    assert choose("agent") == DEFAULT_ENDPOINT


def test_a_transport_of_ones_own_is_taken() -> None:
    own = InMemoryTransport()
    assert open_transport(choose(own)) is own


@pytest.mark.parametrize(
    ("wanted", "endpoint", "brokers"),
    [
        ("kafka", None, None),
        ("agent", None, "b"),
        ("auto", "http://a", "b"),
        ("smoke", None, None),
        ("agent", "x", None),
    ],
)
def test_a_wrong_argument_is_an_error_at_once(wanted: Wanted, endpoint: str | None, brokers: str | None) -> None:
    with pytest.raises(ValueError, match=r"transport|brokers|endpoint"):
        choose(wanted, endpoint, brokers)


def test_the_environment_says_how_to_get_in(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("periwinkle\n")
    found = from_environment(
        {
            "HELIOGRAPH_KAFKA_BROKERS": "b:9093",
            "HELIOGRAPH_KAFKA_CA_FILE": "/ca.pem",
            "HELIOGRAPH_KAFKA_USERNAME": "me",
            "HELIOGRAPH_KAFKA_PASSWORD_FILE": str(tmp_path / "password"),
            "HELIOGRAPH_KAFKA_MECHANISM": "PLAIN",
        }
    )
    assert found is not None
    assert (found.encrypted, found.verify, found.username, found.password) == (True, True, "me", "periwinkle")
    config = found.config()
    assert (config["security.protocol"], config["sasl.mechanism"]) == ("SASL_SSL", "PLAIN")
    assert "periwinkle" not in repr(found)


@pytest.mark.parametrize(
    ("settings", "protocol"),
    [
        (KafkaSettings("b"), "PLAINTEXT"),
        (KafkaSettings("b", tls=True), "SSL"),
        (KafkaSettings("b", username="me"), "SASL_PLAINTEXT"),
    ],
)
def test_the_protocol_follows_from_what_is_given(settings: KafkaSettings, protocol: str) -> None:
    assert settings.config()["security.protocol"] == protocol


@pytest.mark.parametrize(
    "wrong",
    [
        {"HELIOGRAPH_KAFKA_TLS": "maybe"},
        {"HELIOGRAPH_KAFKA_PASSWORD_FILE": "/nowhere"},
        {"HELIOGRAPH_KAFKA_PASSWORD_FILE": "/nowhere", "HELIOGRAPH_KAFKA_PASSWORD": "x"},
    ],
)
def test_a_variable_that_is_wrong_is_warned_of_and_an_argument_refused(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HELIOGRAPH_KAFKA_BROKERS", "b:9092")
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "heliograph"):
        assert choose() == DEFAULT_ENDPOINT
    assert "HELIOGRAPH_KAFKA_BROKERS is not used" in caplog.text
    with pytest.raises(ValueError):
        choose("kafka")


def test_without_the_library_a_variable_is_warned_of_and_an_argument_refused() -> None:
    out = run(
        """
    import importlib.util, logging, sys
    logging.basicConfig(stream=sys.stdout)
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name == "confluent_kafka" else real(name, package)
    import heliograph
    assert heliograph.configure("shop").enabled
    try:
        heliograph.configure("shop", brokers="b:9092")
    except ImportError as error:
        print("refused", error)
    """,
        HELIOGRAPH_KAFKA_BROKERS="b:9092",
    )
    assert "HELIOGRAPH_KAFKA_BROKERS is not used: it needs confluent-kafka" in out
    assert "refused sending to Kafka needs confluent-kafka: pip install 'heliograph[kafka]'" in out
