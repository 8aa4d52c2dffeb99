"""Port: how sealed batches leave a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .message import Message


class Transport(Protocol):
    """Takes batches to the bus, or to something that puts them there unchanged.

    A producer calls it from one thread at a time, but not always the same one, and in a forked child with what the parent left.
    """

    def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        """All are durable on the bus when this returns; within `timeout_s` it returns or raises.

        Raises RefusedError when these bytes will never be taken, none of them; UnavailableError when it is not known
        whether they were: sending them `again()` is safe.
        """

    def close(self) -> None:
        """Let connections go; a later `send` opens them anew. Must not wait: a forked child calls it for what its parent left."""
