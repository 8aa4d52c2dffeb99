"""Numbers as Go writes them."""

from __future__ import annotations

import math
from decimal import Decimal


def go_float(value: float) -> str:
    """strconv.FormatFloat(value, 'f', -1, 64): the shortest digits that read back, without an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def sample_text(value: float) -> str:
    """As Prometheus' API writes samples: an exponent below 1e-6 and from 1e21 on."""
    size = abs(value)
    if size == 0 or math.isinf(value) or math.isnan(value) or 1e-6 <= size < 1e21:
        return go_float(value)
    return repr(value)


def open_metrics_float(value: float) -> str:
    """As OpenMetrics writes label values: always with a point, an exponent or a name."""
    text = "NaN" if math.isnan(value) else go_float(value) if math.isinf(value) else repr(value)
    return text if any(char in text for char in ".eNI") else text + ".0"
