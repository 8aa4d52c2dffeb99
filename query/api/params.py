"""Query parameters as people and Grafana send them; every refusal names the parameter and says what is expected."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
_MS_MAX = 2**62 // 1000


class BadParameterError(Exception):
    """The caller's fault; the message is for them."""


def required(params: Mapping[str, str], name: str) -> str:
    """The parameter's text; raises BadParameterError when it is missing or empty."""
    value = params.get(name, "")
    if not value:
        raise BadParameterError(f'missing parameter "{name}"')
    return value


def seconds_as_ms(params: Mapping[str, str], name: str, default_ms: int | None = None) -> int:
    """Prometheus' times: seconds since the epoch with a fraction, or RFC 3339; as milliseconds."""
    text = params.get(name, "")
    if not text:
        if default_ms is None:
            raise BadParameterError(f'missing parameter "{name}"')
        return default_ms
    try:
        seconds = float(text)
    except ValueError:
        return _rfc3339_ns(name, text) // 1_000_000
    if not math.isfinite(seconds) or abs(seconds * 1000) > _MS_MAX:
        raise BadParameterError(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp')
    return round(seconds * 1000)


def duration_ms(params: Mapping[str, str], name: str) -> int:
    """A step: seconds as a number, or a duration such as 15s or 1h30m; as positive milliseconds."""
    text = required(params, name)
    try:
        value = float(text) * 1000
    except ValueError:
        parts = _DURATION.findall(text)
        if not parts or "".join(n + u for n, u in parts) != text:
            raise BadParameterError(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration') from None
        value = float(sum(int(n) * _UNIT_MS[u] for n, u in parts))
    if not math.isfinite(value) or value > _MS_MAX:
        raise BadParameterError(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration')
    if value < 1:
        raise BadParameterError(
            f'invalid parameter "{name}": zero or negative query resolution step widths are not accepted'
        )
    return round(value)


def time_ns(params: Mapping[str, str], name: str) -> int | None:
    """A time of our own API as nanoseconds: RFC 3339, or a number in seconds, milliseconds, microseconds or nanoseconds by its size."""
    text = params.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return _rfc3339_ns(name, text)
    if not math.isfinite(value) or abs(value) >= 2**63:
        raise BadParameterError(f'invalid parameter "{name}": "{text}" is not a time')
    for limit, factor in ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1000)):
        if abs(value) < limit:
            return round(value * factor) if "." in text or "e" in text.lower() else int(text) * factor
    return int(value) if "." in text or "e" in text.lower() else int(text)


def integer(params: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number in [low, high]."""
    text = params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"-?\d{1,18}", text) or not low <= int(text) <= high:
        raise BadParameterError(f'invalid parameter "{name}": "{text}" is not a whole number from {low} to {high}')
    return int(text)


def _rfc3339_ns(name: str, text: str) -> int:
    found = _RFC3339.fullmatch(text)
    if not found:
        raise BadParameterError(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp')
    day, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(day.upper() + (zone.upper().replace("Z", "+00:00")))
    except ValueError:
        raise BadParameterError(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp') from None
    whole = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
