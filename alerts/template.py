"""The part of Prometheus' templates that most rules use: {{ $labels.name }}, {{ $value }}, and a pipe to a humanising function."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

_EXPRESSION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"\$labels\.([A-Za-z_][A-Za-z0-9_]*)|\.Labels\.([A-Za-z_][A-Za-z0-9_]*)")


def expand(text: str, labels: Mapping[str, str], value: float) -> str:
    """The text with its expressions filled in; one that is not understood stays as it stands."""
    return _EXPRESSION.sub(lambda found: _expression(found, labels, value), text)


def _expression(found: re.Match[str], labels: Mapping[str, str], value: float) -> str:
    term, *filters = [part.strip() for part in found[1].split("|")]
    label = _LABEL.fullmatch(term)
    if label:
        result = labels.get(label[1] or label[2], "")
    elif term in ("$value", ".Value"):
        result = _number(value)
    else:
        return found[0]
    for name in filters:
        function = _FUNCTIONS.get(name.split(" ")[0])
        if function is None:
            return found[0]
        try:
            result = function(float(result))
        except ValueError:
            return found[0]
    return result


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.15g}"


def _scaled(value: float, base: float, up: tuple[str, ...], down: tuple[str, ...] = ()) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:.4g}"
    prefix = ""
    if abs(value) >= 1:
        for prefix_up in up:
            if abs(value) < base:
                break
            prefix, value = prefix_up, value / base
    else:
        for prefix_down in down:
            if abs(value) >= 1:
                break
            prefix, value = prefix_down, value * base
    return f"{value:.4g}{prefix}"


def _duration(value: float) -> str:
    if not math.isfinite(value):
        return f"{value:.4g}"
    if abs(value) < 1:
        return _scaled(value, 1000, (), ("m", "µ", "n")) + "s"
    sign, seconds = ("-" if value < 0 else ""), int(abs(value))
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds % 60}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds % 60}s"
    if minutes:
        return f"{sign}{minutes}m {seconds % 60}s"
    return f"{value:.4g}s"


_FUNCTIONS: Mapping[str, Callable[[float], str]] = {
    "humanize": lambda v: _scaled(v, 1000, ("k", "M", "G", "T", "P", "E"), ("m", "u", "n", "p")),
    "humanize1024": lambda v: _scaled(v, 1024, ("ki", "Mi", "Gi", "Ti", "Pi", "Ei")),
    "humanizePercentage": lambda v: f"{v * 100:.4g}%",
    "humanizeDuration": _duration,
}
