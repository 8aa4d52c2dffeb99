"""A Kafka broker behind TLS and SASL, once per test run: one process, a port for each way to get in or to be kept out."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bus.kafka_settings import KafkaSettings, Sasl
from bus.tls import Tls
from tests.servers.certificates import Authority, Certificate
from tests.servers.kafka import start_broker
from tests.servers.maven import require_java
from tests.servers.process import free_ports

PLAIN_USER, SCRAM_USER, STRANGER = "plain-user", "scram-user", "stranger"
"""The stranger gets in and may do nothing."""
PASSWORD = "periwinkle"
# Listener and what it speaks.
_LISTENERS = {
    "SASL": "SASL_SSL",
    "MUTUAL": "SSL",
    "EXPIRED": "SASL_SSL",
    "MISNAMED": "SASL_SSL",
    "BARE": "SASL_PLAINTEXT",
}
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class SecuredBroker:
    """Where it listens, each as host:port, and the files that its clients need."""

    sasl: str
    """Users by PLAIN and SCRAM-SHA-512 within TLS."""
    mutual: str
    """TLS that asks for the client's certificate."""
    expired: str
    """As `sasl`, with an expired certificate."""
    misnamed: str
    """As `sasl`, with a certificate for another host."""
    bare: str
    """Users without TLS."""
    internal: str
    """Neither; whoever comes here may do everything."""
    ca_file: Path
    other_ca_file: Path
    """Of an authority that has signed nothing here."""
    client: Certificate

    def settings(self, bootstrap: str, user: str | None = None, password: str = PASSWORD, **tls: Path) -> KafkaSettings:
        """Of a client at one of the ports, by TLS."""
        mechanism = "SCRAM-SHA-512" if user == SCRAM_USER else "PLAIN"
        return KafkaSettings(
            bootstrap,
            Tls(**{"ca_file": self.ca_file, **tls}),  # type: ignore[arg-type]
            Sasl(user, password, mechanism) if user else None,  # type: ignore[arg-type]
            replication_factor=1,
            request_timeout_s=10.0,
        )


@functools.cache
def secured_broker() -> SecuredBroker:
    """The one that all tests share. Skips where Java or Maven is missing."""
    require_java(17)
    folder = Path(tempfile.mkdtemp(prefix="heliograph-certificates-"))
    authority = Authority(folder)
    good, misnamed = authority.issue("good", "127.0.0.1", "localhost"), authority.issue("misnamed", "elsewhere.example")
    expired = authority.issue_expired("expired", "127.0.0.1", "localhost")
    ports = dict(zip(_LISTENERS, free_ports(len(_LISTENERS)), strict=True))
    of_listener = {"SASL": good, "MUTUAL": good, "EXPIRED": expired, "MISNAMED": misnamed}
    more = _settings(of_listener, authority.ca_file)
    broker = start_broker(
        [f"{name}://127.0.0.1:{port}" for name, port in ports.items()],
        more,
        ["--add-scram", f"SCRAM-SHA-512=[name={SCRAM_USER},password={PASSWORD}]"],
    )
    at = {name.lower(): f"127.0.0.1:{port}" for name, port in ports.items()}
    return SecuredBroker(
        **at,
        internal=broker.bootstrap,
        ca_file=authority.ca_file,
        other_ca_file=Authority(folder, "other").ca_file,
        client=authority.issue("client", "client.example"),
    )


def _settings(of_listener: dict[str, Certificate], ca_file: Path) -> dict[str, str]:
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **_LISTENERS}
    users = "".join(f' user_{name}="{PASSWORD}"' for name in (PLAIN_USER, STRANGER))
    settings = {
        "listener.security.protocol.map": ",".join(f"{name}:{spoken}" for name, spoken in protocols.items()),
        "auto.create.topics.enable": "false",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{PLAIN_USER};User:{SCRAM_USER};User:CN=client",
        "ssl.principal.mapping.rules": "RULE:^.*(CN=[^,]+).*$/$1/,DEFAULT",
        "listener.name.mutual.ssl.client.auth": "required",
    }
    for name, certificate in of_listener.items():
        prefix = f"listener.name.{name.lower()}.ssl"
        settings |= {f"{prefix}.keystore.type": "PEM", f"{prefix}.keystore.location": str(certificate.both)}
        settings |= {f"{prefix}.truststore.type": "PEM", f"{prefix}.truststore.location": str(ca_file)}
    for name in ("sasl", "expired", "misnamed", "bare"):
        prefix = f"listener.name.{name}"
        settings |= {
            f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            f"{prefix}.plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required{users};",
            f"{prefix}.scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
        }
    return settings
