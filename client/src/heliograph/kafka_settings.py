"""How a client reaches a Kafka cluster: what `configure` is told, or what the environment says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "HELIOGRAPH_KAFKA_"
_SECRET_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Brokers, and how to get in; TLS and SASL are used when something of theirs is given."""

    brokers: str
    """host:port, several separated by commas."""
    tls: bool = False
    ca_file: str = ""
    """PEM; the system's authorities where it is not given."""
    certificate_file: str = ""
    """Of this client, where the brokers ask for one; PEM, with `key_file`."""
    key_file: str = ""
    key_password: str = field(default="", repr=False)
    verify: bool = True
    """Whether the brokers' certificates must be valid and name the host; False is for tests only."""
    username: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = "SCRAM-SHA-512"
    """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""

    @property
    def encrypted(self) -> bool:
        return self.tls or bool(self.ca_file or self.certificate_file)

    def config(self) -> dict[str, str]:
        """In librdkafka's terms."""
        protocol = f"{'SASL_' if self.username else ''}{'SSL' if self.encrypted else 'PLAINTEXT'}"
        given = {"bootstrap.servers": self.brokers, "security.protocol": protocol}
        if self.encrypted:
            given |= {
                "ssl.ca.location": self.ca_file,
                "ssl.certificate.location": self.certificate_file,
                "ssl.key.location": self.key_file,
                "ssl.key.password": self.key_password,
                "enable.ssl.certificate.verification": str(self.verify).lower(),
                "ssl.endpoint.identification.algorithm": "https" if self.verify else "none",
            }
        if self.username:
            given |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        return {name: value for name, value in given.items() if value}


def from_environment(variables: Mapping[str, str], brokers: str | None = None) -> KafkaSettings | None:
    """What HELIOGRAPH_KAFKA_BROKERS and its companions say, `brokers` coming before the first; None without brokers.

    Companions: TLS, CA_FILE, CERTIFICATE_FILE, KEY_FILE, KEY_PASSWORD, VERIFY, USERNAME, PASSWORD, MECHANISM; a secret's value may
    stand in the file that KEY_PASSWORD_FILE or PASSWORD_FILE names. Raises ValueError, OSError when that file cannot be read.
    """

    def said(name: str) -> str:
        return variables.get(PREFIX + name, "").strip()

    found = brokers or said("BROKERS")
    if not found:
        return None
    return KafkaSettings(
        found,
        tls=_truth(said("TLS"), "TLS", False),
        ca_file=said("CA_FILE"),
        certificate_file=said("CERTIFICATE_FILE"),
        key_file=said("KEY_FILE"),
        key_password=_secret(variables, "KEY_PASSWORD"),
        verify=_truth(said("VERIFY"), "VERIFY", True),
        username=said("USERNAME"),
        password=_secret(variables, "PASSWORD"),
        mechanism=said("MECHANISM") or "SCRAM-SHA-512",
    )


def _truth(said: str, name: str, default: bool) -> bool:
    known = {"": default, "true": True, "1": True, "false": False, "0": False}
    if said.lower() not in known:
        raise ValueError(f"{PREFIX}{name} must be true or false, not {said!r}")
    return known[said.lower()]


def _secret(variables: Mapping[str, str], name: str) -> str:
    file = variables.get(f"{PREFIX}{name}_FILE", "").strip()
    if not file:
        return variables.get(PREFIX + name, "")
    if variables.get(PREFIX + name):
        raise ValueError(f"{PREFIX}{name} is said twice: there, and by {PREFIX}{name}_FILE")
    with Path(file).open(encoding="utf-8") as opened:
        return opened.read(_SECRET_BYTES_MAX).rstrip("\r\n")
