"""Messages and bytes on the bus: a thousand small services beside a large one."""

from __future__ import annotations

from pathlib import Path

from heliograph import contracts
from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.records import Source, seal_logs

from .line import Line, Spent
from .load import log_records
from .stack import Stack

SERVICES = 1000
RECORDS_EACH = 20


def run(folder: Path) -> list[Line]:
    """The same records, from many producers and from one."""
    records = log_records(3, SERVICES * RECORDS_EACH)
    small: list[Message] = []
    for n in range(SERVICES):
        source = Source({"service.name": f"service-{n:04d}", "host.name": f"host-{n % 50}"})
        small += seal_logs(records[n * RECORDS_EACH : (n + 1) * RECORDS_EACH], source, ProducerIdentity().mint)
    large = seal_logs(records, Source({"service.name": "large"}), ProducerIdentity().mint)
    return [
        *_measure(folder / "small", f"{SERVICES:,} small services", small, len(records)),
        *_measure(folder / "large", "one large service", large, len(records)),
    ]


def _measure(folder: Path, name: str, messages: list[Message], records: int) -> list[Line]:
    stack = Stack(folder)
    with Spent() as spent:
        stack.produce(messages)
        for cut in stack.cuts("bench", (contracts.LOGS_TOPIC,), 8 * 1024 * 1024):
            assert cut.records
    stack.bus.close()
    stored = _file_bytes(folder)
    sent = sum(m.size_bytes for m in messages)
    return [
        Line(f"bus, {name}: appended and read", len(messages) / spent.cpu_s, "messages/core-s"),
        Line(f"bus, {name}: sent", sent / records, "bytes/record"),
        Line(f"bus, {name}: on disk", stored / records, "bytes/record"),
    ]


def _file_bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in (folder / "bus").iterdir())
