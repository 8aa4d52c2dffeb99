"""Names of data streams: one for each stream and tenant."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from search.port import Stream

STREAMS: Final[tuple[Stream, ...]] = ("logs", "traces")
_NAMESPACE_BYTES_MAX: Final = 100
_UNFIT = re.compile(r"[^a-z0-9_.]")


def data_stream(stream: Stream, dataset: str, tenant: str) -> str:
    """Different tenants never share one, whatever characters they are spelled with."""
    return f"{stream}-{dataset}.otel-{namespace(tenant)}"


def pattern(stream: Stream, dataset: str) -> str:
    """Of the streams of all tenants."""
    return f"{stream}-{dataset}.otel-*"


@lru_cache(maxsize=4096)
def namespace(tenant: str) -> str:
    """A tenant as Elasticsearch lets a name end: what does not fit is `=` and its bytes in hex; what is too long a digest."""
    spelled = _UNFIT.sub(lambda found: "".join(f"={byte:02x}" for byte in found[0].encode()), tenant) or "="
    if len(spelled) <= _NAMESPACE_BYTES_MAX:
        return spelled
    return f"=x{hashlib.sha256(tenant.encode()).hexdigest()}"


def in_path(*names: str) -> str:
    """Names as one part of a URL's path."""
    return ",".join(quote(name, safe="") for name in names)
