"""How a client encrypts its connections: one value for every engine that speaks TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption to a server; the system's authorities where no file is given. Files are PEM."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    """Of this client, where the server asks for one."""
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    verify: bool = True
    """Whether the server's certificate must be valid and name the host; False is for tests only."""

    def context(self) -> ssl.SSLContext:
        """For clients on Python's ssl. Raises OSError (ssl.SSLError included) when a file cannot be used."""
        made = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if not self.verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if self.certificate_file is not None:
            made.load_cert_chain(self.certificate_file, self.key_file, self.key_password)
        return made
