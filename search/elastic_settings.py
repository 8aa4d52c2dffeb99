"""How to reach an Elasticsearch, and how documents are kept there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from bus.tls import Tls

_MIB: Final = 1024 * 1024
_DATASET = re.compile(r"[a-z0-9_.]{1,64}")


@dataclass(frozen=True, slots=True)
class ElasticSettings:
    """Raises ValueError, in one sentence, for what cannot be meant."""

    urls: tuple[str, ...]
    """Of the nodes, like https://search-1:9200; a path behind the port is kept."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    """As Elasticsearch gives it out: id and key in Base64."""
    tls: Tls | None = None
    """For https; the system's authorities where it is None."""
    dataset: str = "generic"
    """Documents are in the data streams logs-<dataset>.otel-<tenant> and traces-<dataset>.otel-<tenant>."""
    replicas: int = 1
    retention_days: int | None = None
    """After which Elasticsearch removes them; None: never."""
    request_timeout_s: float = 30.0
    bulk_bytes_max: int = 8 * _MIB
    """Of one bulk request; a larger document goes alone."""
    answer_bytes_max: int = 32 * _MIB
    in_flight_max: int = 2
    """Bulk requests at the same time; so many bodies, and one more, are in memory."""
    attempts_max: int = 4
    """Of one bulk request within a write."""

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("Give at least one URL of Elasticsearch.")
        for url in self.urls:
            _check_url(url)
        if (self.username is None) != (self.password is None):
            raise ValueError("Give username and password of Elasticsearch together.")
        if self.api_key is not None and self.username is not None:
            raise ValueError("Give either an API key or a username with its password for Elasticsearch, not both.")
        if not _DATASET.fullmatch(self.dataset):
            raise ValueError(f"The dataset {self.dataset[:80]!r} must be 1 to 64 of a-z, 0-9, '_' and '.'.")
        if self.replicas < 0 or self.attempts_max < 1 or self.in_flight_max < 1 or self.request_timeout_s <= 0:
            raise ValueError(
                "Replicas must be at least 0, attempts and bulks in flight at least 1, the request's timeout more than 0 s."
            )
        if self.retention_days is not None and self.retention_days < 1:
            raise ValueError("Retention must be at least one day.")
        if self.bulk_bytes_max < 1024 or self.answer_bytes_max < _MIB:
            raise ValueError("A bulk needs at least 1 KiB, an answer at least 1 MiB.")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("A URL of Elasticsearch cannot be read; it looks like https://search-1:9200.") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("Give Elasticsearch's username and password as settings of their own, not in the URL.")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise ValueError(f"{url[:200]!r} is no URL of Elasticsearch; it looks like https://search-1:9200.")
