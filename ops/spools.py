"""Where the agents of a data directory have their spools, and how a spool is sent while no agent runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bus.port import Bus
from collectors import ledger_facts
from collectors.spool_delivery import deliver
from heliograph.errors import DecodeError
from heliograph.identity import Mint, ProducerIdentity
from heliograph.message import Message
from heliograph.spool import Spool


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending a spool."""

    batches: int
    refused: int
    """Batches that the bus will never take; the ledger names them."""
    damaged_segments: int
    """Set aside; what could be read of them is sent."""


def spool_folder(data_dir: Path, instance: str) -> Path:
    """Of an agent, by the name of its slot: the first one's is the data directory's."""
    return data_dir / "spool" if instance == "agent" else data_dir / instance / "spool"


def spool_folders(data_dir: Path) -> list[Path]:
    """Those that are there, of every agent that ever ran on the data directory."""
    numbered = sorted(data_dir.glob("agent-*/spool"), key=lambda path: (len(path.parts[-2]), path))
    return [path for path in (data_dir / "spool", *numbered) if path.is_dir()]


def send(spool: Spool, bus: Bus, tell: Callable[[int], None]) -> Sent:
    """Put everything on the bus; `tell` is given the bytes of each segment that went. The spool is open, and stays so.

    Raises BusError and SpoolUnavailableError: what was not sent is still there.
    """
    batches = refused = 0
    mint = ProducerIdentity().mint
    while (segment := spool.oldest()) is not None:
        held = spool.bytes_held
        never = deliver(bus, segment.messages)
        if never:
            bus.produce(_facts(never, mint))
        spool.done(segment)
        batches += len(segment.messages) - len(never)
        refused += len(never)
        tell(held - spool.bytes_held)
    return Sent(batches, refused, spool.bad_segments)


def _facts(refused: Sequence[Message], mint: Mint) -> list[Message]:
    time_ms = time.time_ns() // 1_000_000
    facts: list[Message] = []
    for message in refused:
        try:
            facts.append(ledger_facts.dropped(message.topic, message.headers, "refused", time_ms, mint))
        except DecodeError:  # noqa: PERF203 - without headers there is nothing to name it by
            continue
    return facts
