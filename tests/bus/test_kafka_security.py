"""TLS, SASL and rights on a real broker: what gets in, and what the operator is told of what does not."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from bus.errors import BusConfigError, BusUnavailableError
from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings, Sasl
from bus.tls import Tls
from tests.contracts.bus_adapter import Watch, bodies, commit_all, drain, message
from tests.servers.kafka_secured import (
    PASSWORD,
    PLAIN_USER,
    SCRAM_USER,
    STRANGER,
    SecuredBroker,
    secured_broker,
)
from tests.servers.process import free_ports


@pytest.fixture
def secured() -> SecuredBroker:
    return secured_broker()


def use(settings: KafkaSettings) -> None:
    """Make a topic, append, read and commit as these settings say."""
    bus = KafkaBus(settings)
    try:
        bus.check()
        name = f"secured.{uuid.uuid4().hex[:12]}"
        bus.create_topics({name: 1})
        bus.produce([message(name, 0, "x")])
        consumer = bus.consumer("g", [name], "a", Watch().listener())
        try:
            records = drain(consumer, 1)
            assert bodies(records) == ["x"]
            commit_all(consumer, records)
        finally:
            consumer.close()
        assert bus.committed("g", name) == {0: 1}
    finally:
        bus.close()


def refusal(settings: KafkaSettings) -> str:
    """The sentence that check() says."""
    bus = KafkaBus(settings)
    try:
        with pytest.raises(BusConfigError) as caught:
            bus.check()
    finally:
        bus.close()
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("user", [PLAIN_USER, SCRAM_USER])
def test_a_user_gets_in_by_tls(secured: SecuredBroker, user: str) -> None:
    use(secured.settings(secured.sasl, user))


@pytest.mark.parametrize("user", [PLAIN_USER, SCRAM_USER])
def test_a_user_gets_in_without_tls(secured: SecuredBroker, user: str) -> None:
    use(replace(secured.settings(secured.bare, user), tls=None))


def test_a_certificate_gets_in(secured: SecuredBroker) -> None:
    own = secured.client
    use(secured.settings(secured.mutual, certificate_file=own.certificate_file, key_file=own.key_file))


def test_without_verification_an_expired_certificate_does_not_matter(secured: SecuredBroker) -> None:
    use(replace(secured.settings(secured.expired, PLAIN_USER), tls=Tls(verify=False)))


@pytest.mark.parametrize("user", [PLAIN_USER, SCRAM_USER])
def test_a_wrong_password_is_told(secured: SecuredBroker, user: str) -> None:
    said = refusal(secured.settings(secured.sasl, user, "not-" + PASSWORD))
    assert "check the user name, the password and the mechanism" in said


def test_a_mechanism_that_is_off_is_told(secured: SecuredBroker) -> None:
    settings = replace(secured.settings(secured.sasl), sasl=Sasl(PLAIN_USER, PASSWORD, "SCRAM-SHA-256"))
    assert "check the user name, the password and the mechanism" in refusal(settings)


def test_an_expired_certificate_is_told(secured: SecuredBroker) -> None:
    assert "has expired: renew it" in refusal(secured.settings(secured.expired, PLAIN_USER))


def test_a_certificate_for_another_host_is_told(secured: SecuredBroker) -> None:
    assert "is for other names" in refusal(secured.settings(secured.misnamed, PLAIN_USER))


def test_a_certificate_of_an_unknown_authority_is_told(secured: SecuredBroker) -> None:
    settings = secured.settings(secured.sasl, PLAIN_USER, ca_file=secured.other_ca_file)
    assert "set `ca_file` to the authority" in refusal(settings)


def test_a_missing_certificate_of_ours_is_told(secured: SecuredBroker) -> None:
    settings = replace(secured.settings(secured.mutual), request_timeout_s=2.0)
    assert "asks for a certificate: set `certificate_file`" in refusal(settings)


def test_a_port_without_tls_is_told_but_may_be_a_server_that_is_going_down(secured: SecuredBroker) -> None:
    bus = KafkaBus(replace(secured.settings(secured.internal), request_timeout_s=1.0))
    with pytest.raises(BusUnavailableError, match="PLAINTEXT broker listener"):
        bus.check()
    bus.close()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BusConfigError, match="settings cannot be used"):
        KafkaBus(KafkaSettings("b:9092", Tls(ca_file=tmp_path / "no.pem")))


def test_a_broker_that_is_not_there_is_unavailable() -> None:
    bus = KafkaBus(KafkaSettings(f"127.0.0.1:{free_ports(1)[0]}", request_timeout_s=1.0))
    with pytest.raises(BusUnavailableError):
        bus.check()
    bus.close()


def test_whoever_may_do_nothing_is_told_which_right_is_missing(secured: SecuredBroker) -> None:
    owner, stranger = (
        KafkaBus(secured.settings(secured.sasl, PLAIN_USER)),
        KafkaBus(secured.settings(secured.sasl, STRANGER)),
    )
    name = f"secured.{uuid.uuid4().hex[:12]}"
    owner.create_topics({name: 1})
    stranger.check()
    with pytest.raises(BusConfigError, match="give this user the right"):
        stranger.create_topics({name: 1})
    # In flight it is no fault of settings: the right may be given at any time.
    with pytest.raises(BusUnavailableError, match="give this user the right"):
        stranger.produce([message(name, 0, "x")])
    owner.close()
    stranger.close()


def test_a_missing_topic_is_made_only_where_we_may(secured: SecuredBroker) -> None:
    name = f"secured.{uuid.uuid4().hex[:12]}"
    settings = KafkaSettings(secured.internal, replication_factor=1)
    checking, making = KafkaBus(replace(settings, create_topics=False)), KafkaBus(settings)
    with pytest.raises(BusConfigError, match=f"topic {name} is missing: make it with 3 partitions"):
        checking.create_topics({name: 3})
    making.create_topics({name: 3})
    checking.create_topics({name: 3})
    with pytest.raises(BusConfigError, match="has 3 partitions, not 4"):
        checking.create_topics({name: 4})
    checking.close()
    making.close()
