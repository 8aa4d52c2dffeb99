"""The contracts that ship with the client: Avro schemas and topics, as data in `schemas/`."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import fastavro
import yaml

METRICS_TOPIC = "telemetry.metrics"
LOGS_TOPIC = "telemetry.logs"
TRACES_TOPIC = "telemetry.traces"
LEDGER_TOPIC = "telemetry.ledger"

BATCH_BYTES_TARGET = 256 * 1024
BATCH_BYTES_MAX = 900 * 1024


@dataclass(frozen=True, slots=True)
class Schema:
    """One Avro schema with its identity; `parsed` is fastavro's prepared form."""

    name: str
    text: str
    """Canonical JSON: what is registered."""
    fingerprint: bytes
    """First 16 bytes of the SHA-256 of `text`."""
    parsed: Any

    @property
    def offline_id(self) -> int:
        """The 31-bit id that needs no registry to learn: the embedded registry gives every schema this one."""
        return offline_id(self.fingerprint)

    @property
    def wire_id(self) -> int:
        """The id that messages are framed with: the registry's own once it is learned, `offline_id` until then."""
        return _learned.get(self.fingerprint, self.offline_id)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of topics.yaml."""

    name: str
    schema: str
    partitions: int
    retention_hours: int
    owner: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    description: str


_learned: dict[bytes, int] = {}


def learn(schema: Schema, schema_id: int) -> None:
    """From now on this process frames messages of the schema with the registry's id, so that whoever asks that registry can read them."""
    _learned[schema.fingerprint] = schema_id


def offline_id(fingerprint: bytes) -> int:
    """A positive 31-bit schema id from a fingerprint; never 0."""
    return (int.from_bytes(fingerprint[:4], "big") & 0x7FFFFFFF) or 1


def canonical(document: Any) -> str:
    """JSON text of a schema with docs kept and whitespace gone, so that equal schemas are equal texts."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def schema_from_text(name: str, text: str) -> Schema:
    """Parse Avro JSON; raises fastavro.schema.SchemaParseException or ValueError when it is not a schema."""
    document = json.loads(text)
    canonical_text = canonical(document)
    fingerprint = hashlib.sha256(canonical_text.encode()).digest()[:16]
    return Schema(name, canonical_text, fingerprint, fastavro.parse_schema(document))


@functools.cache
def schema(name: str) -> Schema:
    """A schema that ships with the client, by the name of its file; raises FileNotFoundError."""
    text = resources.files("heliograph").joinpath("schemas", f"{name}.avsc").read_text("utf-8")
    return schema_from_text(name, text)


@functools.cache
def topics() -> dict[str, Topic]:
    """Every topic by name."""
    text = resources.files("heliograph").joinpath("schemas", "topics.yaml").read_text("utf-8")
    document = yaml.safe_load(text)["topics"]
    return {
        name: Topic(
            name,
            entry["schema"],
            entry["partitions"],
            entry["retention_hours"],
            entry["owner"],
            tuple(entry["producers"]),
            tuple(entry["consumers"]),
            entry["description"],
        )
        for name, entry in document.items()
    }
