"""Batches as JSON has them, to compare with what another language printed."""

from __future__ import annotations

import math
from typing import Any


def plain(datum: Any) -> Any:
    """Bytes as hex; a NaN as JSON libraries spell it."""
    if isinstance(datum, dict):
        return {key: plain(value) for key, value in datum.items()}
    if isinstance(datum, list | tuple):
        return [plain(value) for value in datum]
    if isinstance(datum, bytes):
        return datum.hex()
    return "NaN" if isinstance(datum, float) and math.isnan(datum) else datum
