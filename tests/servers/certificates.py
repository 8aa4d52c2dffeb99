"""Certificates of a throw-away authority, as PEM files: good, expired, for other names, and of one that nobody knows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

_LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key and its certificate; `both` is one file with the two, the key in PKCS 8, as Java wants them."""

    certificate_file: Path
    key_file: Path
    both: Path


class Authority:
    """Issues into a folder; `ca_file` is what to trust."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def issue(self, name: str, *identities: str) -> Certificate:
        """For host names or addresses, or for a client."""
        return self._written(name, self._ca.issue_cert(*identities, common_name=name))

    def issue_expired(self, name: str, *identities: str) -> Certificate:
        """One that was good for a day long ago."""
        ends = _LONG_AGO + datetime.timedelta(days=1)
        issued = self._ca.issue_cert(*identities, common_name=name, not_before=_LONG_AGO, not_after=ends)
        return self._written(name, issued)

    def _written(self, name: str, issued: trustme.LeafCert) -> Certificate:
        made = Certificate(*(self._folder / f"{name}.{end}" for end in ("crt", "key", "both")))
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        for path, text in ((made.certificate_file, chain), (made.key_file, key_pem), (made.both, key_pem + chain)):
            path.write_bytes(text)
            path.chmod(0o600)
        return made
