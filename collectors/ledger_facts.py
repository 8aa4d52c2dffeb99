"""Ledger facts of the agent: what became of batches that never reached the bus."""

from __future__ import annotations

from heliograph.identity import Mint
from heliograph.ledger import dropped_fact
from heliograph.message import HeaderList, Message


def dropped(topic: str, batch: HeaderList, reason: str, time_ms: int, mint: Mint) -> Message:
    """The fact that the agent dropped the batch with these headers for `reason`, as a message for the ledger.

    Its key is (agent, producer_id, topic, sequence) of the batch, so that the same fact twice changes nothing.
    Raises DecodeError("bad_headers").
    """
    return dropped_fact(topic, batch, reason, time_ms, mint, hop="agent")
