"""What a query may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one query; beyond them it fails with LimitError."""

    points_max: int = 11_000
    """Steps of a range query."""
    samples_max: int = 50_000_000
    """Samples loaded by all selectors together (8 bytes each, and their stamps)."""
    cells_max: int = 50_000_000
    """Series × steps of any intermediate result (9 bytes each)."""
    query_chars_max: int = 65_536
    """Length of the query text."""


DEFAULT_LIMITS = Limits()
