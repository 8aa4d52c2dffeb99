"""The client's batches: already sealed, so they are checked and go onto the bus unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from bus.registry import Registry, RegistryUnavailableError, UnknownSchemaError
from collectors.errors import BusyError, RequestError
from heliograph import contracts
from heliograph.errors import DecodeError
from heliograph.framing import schema_id_of
from heliograph.message import Headers, Message, checked_crc, decode_bundle

TOPICS = (contracts.METRICS_TOPIC, contracts.LOGS_TOPIC, contracts.TRACES_TOPIC, contracts.LEDGER_TOPIC)
TENANT = "default"


def checked(body: bytes, registry: Registry) -> list[Message]:
    """The messages of a bundle, all of them fit for the bus.

    Raises RequestError(400) that names the first one that is not, BusyError(503) when the registry cannot be asked.
    """
    try:
        messages = decode_bundle(body)
    except DecodeError as error:
        raise RequestError(400, f"the bundle cannot be read: {error}") from error
    for index, message in enumerate(messages):
        fault = _fault(message, registry)
        if fault:
            raise RequestError(400, f"message {index}: {fault}")
    return messages


def schemas() -> dict[str, dict[str, str | int]]:
    """Ids and fingerprints of the schemas that may be sent, by name."""
    known = (contracts.schema(contracts.topics()[topic].schema) for topic in TOPICS)
    return {s.name: {"id": s.wire_id, "fingerprint": s.fingerprint.hex()} for s in known}


def _fault(message: Message, registry: Registry) -> str:
    if message.topic not in TOPICS:
        return f"topic {message.topic!r} is none of {', '.join(TOPICS)}"
    topic = contracts.topics()[message.topic]
    if message.partition >= topic.partitions:
        return f"{message.topic} has {topic.partitions} partitions, there is no {message.partition}"
    if len(message.body) > contracts.BATCH_BYTES_MAX:
        return f"a body of {len(message.body)} bytes, at most {contracts.BATCH_BYTES_MAX} are taken"
    try:
        headers = Headers.decode(message.headers)
        schema_id = schema_id_of(message.body)
    except DecodeError as error:
        return str(error)
    if headers.tenant != TENANT:
        return f"tenant {headers.tenant!r}, only {TENANT!r} is taken here"
    if _repeated(message):
        return "a header stands twice"
    if not checked_crc(message.body, message.headers):
        return "the body does not match its CRC32C"
    expected = contracts.schema(topic.schema)
    # Whatever the id: a client may have learned it from a registry that was made anew since.
    return "" if headers.schema == expected.fingerprint else _schema_fault(schema_id, expected, registry)


def _schema_fault(schema_id: int, expected: contracts.Schema, registry: Registry) -> str:
    if schema_id in (expected.offline_id, expected.wire_id):
        return ""
    try:
        found = registry.schema(schema_id)
    except UnknownSchemaError:
        return f"no schema {schema_id} is registered"
    except RegistryUnavailableError as error:
        raise BusyError(503, "the schema registry cannot be asked now", retry_after_s=2) from error
    name = found.parsed.get("name")
    return "" if name == expected.parsed["name"] else f"schema {schema_id} is {name}, not {expected.parsed['name']}"


def _repeated(message: Message) -> bool:
    keys: Sequence[str] = [key for key, _ in message.headers]
    return len(set(keys)) != len(keys)
