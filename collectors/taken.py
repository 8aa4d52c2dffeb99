"""What became of a request: on the bus or in the spool, with what was refused of it."""

from __future__ import annotations

from dataclasses import dataclass

from heliograph.message import Message


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that is durable."""

    messages: tuple[Message, ...]
    items_refused: int = 0
    reason: str = ""
    duplicate: bool = False
