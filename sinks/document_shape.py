"""What documents of logs and of spans share, field by field as Elasticsearch's OpenTelemetry mapping has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from search.port import Stream

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NANOS_PER_S: Final = 1_000_000_000
_DATASET: Final = "generic.otel"


def shared(batch: Mapping[str, Any], stream: Stream, tenant: str) -> dict[str, Any]:
    """What the documents of a batch have in common."""
    return {
        "resource": {"attributes": batch["resource"]},
        "scope": {"name": batch["scope_name"], "version": batch["scope_version"]},
        "data_stream": {"type": stream, "dataset": _DATASET, "namespace": tenant},
    }


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with nine decimals, exact."""
    seconds, nanos = divmod(time_ns, NANOS_PER_S)
    return f"{second(seconds)}.{nanos:09d}Z"


def attributes(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes as JSON can hold them: doubles that are no numbers become the texts NaN, Infinity and -Infinity."""
    if not any(isinstance(value, float) and not math.isfinite(value) for value in found.values()):
        return found
    return {key: _json_value(value) for key, value in found.items()}


@lru_cache(maxsize=256)
def second(seconds: int) -> str:
    """Seconds since the epoch in RFC 3339, without what stands behind the seconds."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def _json_value(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
