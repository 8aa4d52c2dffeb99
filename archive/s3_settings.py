"""How to reach a bucket, and how patient to be with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from bus.tls import Tls

_MIB: Final = 1024 * 1024
_PART_BYTES_MIN: Final = 5 * _MIB
_PARTS_MAX: Final = 10_000
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/|\Z))*\Z")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """One bucket. Raises ValueError, one sentence, for what cannot be meant."""

    bucket: str
    endpoint_url: str | None = None
    """http(s)://host:port of the server; AWS where it is not given."""
    region: str = "us-east-1"
    access_key_id: str | None = None
    """Without keys AWS's own chain counts: environment, profile, the machine's role."""
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    prefix: str = ""
    """Before every key, where several archives share a bucket; a slash is added to its end."""
    path_style: bool = False
    """The bucket in the path instead of the host's name: most servers but AWS need it."""
    tls: Tls | None = None
    """Other authorities, or a certificate of this client. The authorities are boto3's own where none are given."""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    """How long one read or write on the connection may stand still."""
    call_timeout_s: float = 60.0
    """After this long a call is not tried again, and a body that still comes is given up."""
    multipart_bytes: int = 16 * _MIB
    """Larger objects are sent in parts of this size."""
    object_bytes_max: int = 256 * _MIB
    page_keys: int = 1000
    """Keys per page of a listing."""
    connections_max: int = 10

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ValueError("name the bucket of the archive")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give both access_key_id and secret_access_key, or neither")
        if self.endpoint_url is not None:
            _check_endpoint(self.endpoint_url)
        if not _PREFIX.match(self.prefix):
            raise ValueError("the prefix must be words of letters, digits and . _ - with one slash between each")
        if self.multipart_bytes < _PART_BYTES_MIN:
            raise ValueError(f"multipart_bytes must be at least {_PART_BYTES_MIN}, which is the least that S3 takes")
        if self.object_bytes_max > self.multipart_bytes * _PARTS_MAX:
            raise ValueError(f"object_bytes_max must be at most {_PARTS_MAX} times multipart_bytes")
        if not 1 <= self.page_keys <= 1000:
            raise ValueError("page_keys must be from 1 to 1000")

    @property
    def folder(self) -> str:
        """The prefix with its slash; "" for the whole bucket."""
        return f"{self.prefix.rstrip('/')}/" if self.prefix else ""


def _check_endpoint(url: str) -> None:
    # The address itself is not shown: a password may be in it.
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("endpoint_url must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("endpoint_url must hold no user, password or query: use access_key_id and secret_access_key")
