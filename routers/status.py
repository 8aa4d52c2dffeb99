"""What a router says of itself: a snapshot for /readyz and for its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bus.port import TopicPartition


@dataclass(frozen=True, slots=True)
class RouterStatus:
    """A router at one moment."""

    store: str
    reasons: tuple[str, ...]
    """Why it is not ready, a sentence each; empty when it is."""
    gathered_bytes: int = 0
    """Held in memory: gathered, and in the cut that is being written."""
    partitions: int = 0
    """Assigned to this member."""
    done: Mapping[TopicPartition, int] = field(default_factory=dict)
    """By assigned and open partition: everything below is in the store and committed, or was before this group's time."""
    cuts: int = 0
    """Written and committed since the start."""

    @property
    def ready(self) -> bool:
        """Whether what is produced now will reach the store."""
        return not self.reasons
