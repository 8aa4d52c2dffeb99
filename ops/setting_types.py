"""The kinds of values that settings are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from ops.quantity import duration_s, duration_text, size_bytes, size_text


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError("a duration with its unit such as 15s, 500ms or 1h30m is expected")
    return duration_s(value)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("more than zero is expected")
    return value


def _bytes(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("a size with its unit such as 10MiB is expected")
    return size_bytes(value)


def _bytes_or_zero(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _bytes(value)


Duration = Annotated[
    float, BeforeValidator(_seconds), AfterValidator(_positive), PlainSerializer(duration_text, return_type=str)
]
"""Seconds; written as `15s`."""
Size = Annotated[int, BeforeValidator(_bytes), AfterValidator(_positive), PlainSerializer(size_text, return_type=str)]
"""Bytes; written as `10MiB`."""
SizeOrZero = Annotated[int, BeforeValidator(_bytes_or_zero), PlainSerializer(size_text, return_type=str)]
"""Bytes, or 0 for none of it."""
Port = Annotated[int, Field(strict=True, ge=0, le=65_535)]
Count = Annotated[int, Field(strict=True, ge=1, le=1000)]


class Section(BaseModel):
    """Closed and frozen: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
