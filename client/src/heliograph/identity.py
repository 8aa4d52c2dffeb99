"""Identity: a producer's 16 random bytes and a count of its batches, minted once and re-sent unchanged."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

_SEED = struct.Struct(">16sqI")


@dataclass(frozen=True, slots=True)
class BatchId:
    """Identity of one batch on the log."""

    producer_id: bytes
    """16 bytes."""
    sequence: int
    """From 0, without gaps per producer."""

    @property
    def text(self) -> str:
        """Hex of the producer and sequence."""
        return f"{self.producer_id.hex()}-{self.sequence:x}"

    def item(self, index: int) -> str:
        """The id of an item, unique for ever: hex of the producer, sequence and index."""
        return f"{self.text}-{index:x}"


Mint: TypeAlias = Callable[[], BatchId]
"""Gives the identity of the batch that is sealed next."""


class ProducerIdentity:
    """Mints identities for one process: the producer id lazily, and anew after a fork. Safe from any thread."""

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom, pid: Callable[[], int] = os.getpid) -> None:
        self._random_bytes = random_bytes
        self._pid = pid
        self._lock = threading.Lock()
        self._owner_pid: int | None = None
        self._producer_id = b""
        self._next_sequence = 0

    def mint(self) -> BatchId:
        """The identity of the next batch; call it when the batch is handed to the bus or the spool, never earlier."""
        with self._lock:
            if self._owner_pid != self._pid():
                self._owner_pid = self._pid()
                self._producer_id = self._random_bytes(16)
                self._next_sequence = 0
            batch_id = BatchId(self._producer_id, self._next_sequence)
            self._next_sequence += 1
            return batch_id

    def forget(self) -> None:
        """Drop the producer id and the lock that a fork may have left held; the child mints its own."""
        self._lock = threading.Lock()
        self._owner_pid = None


def item_hash(batch_id: BatchId, index: int, content: bytes) -> int:
    """32 bits over an item's identity and its encoded content; sums of up to 2^21 of them are exact in a double."""
    return zlib.crc32(content, zlib.crc32(_SEED.pack(batch_id.producer_id, batch_id.sequence, index)))
