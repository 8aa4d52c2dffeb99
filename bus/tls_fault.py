"""Why TLS with a server fails, in a sentence that says what to do."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from bus.tls import Tls

_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_NAMES: Final = frozenset({62, 64})
"""OpenSSL's codes of a failed verification: by host name and by address."""
_ALERTS: Final = {
    "CERTIFICATE_EXPIRED": "says that our certificate has expired: renew the one in `certificate_file`",
    "UNKNOWN_CA": "does not trust who signed our certificate: use one of an authority that it knows",
    "BAD_CERTIFICATE": "refuses our certificate: check `certificate_file` and who signed it",
    "CERTIFICATE_UNKNOWN": "refuses our certificate: check `certificate_file`, its dates and who signed it",
    "WRONG_VERSION_NUMBER": "does not speak TLS on this port: use another port, or no `tls`",
    "ALERT_PROTOCOL_VERSION": "speaks only versions of TLS that are too old",
}
_WANTS_OURS: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "HANDSHAKE_FAILURE")
"""What servers say to a client without one."""


def sentence(error: ssl.SSLError, server: str, tls: Tls) -> str | None:
    """What is wrong and what to do about it; None when it is no matter of settings."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            return f"the certificate of {server} has expired: renew it there (is this machine's clock right?)"
        if error.verify_code == _NOT_YET_VALID:
            return f"the certificate of {server} is not valid yet: is this machine's clock right?"
        if error.verify_code in _OTHER_NAMES:
            return f"the certificate of {server} is for other names: connect by one that it holds, or renew it with this one"
        return f"nobody whom we trust has signed the certificate of {server}: set `ca_file` to the authority that has"
    reason = error.reason or ""
    if tls.certificate_file is None and any(alert in reason for alert in _WANTS_OURS):
        return f"{server} asks for a certificate: set `certificate_file` and `key_file`"
    return next((f"{server} {what}" for alert, what in _ALERTS.items() if alert in reason), None)


def probe(host: str, port: int, tls: Tls, timeout_s: float) -> str | None:
    """Try a handshake: the sentence of what fails, None when it succeeds or the server does not answer."""
    context = tls.context()
    try:
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            # A server that asks for a certificate says so after the handshake.
            encrypted.settimeout(min(timeout_s, 1.0))
            encrypted.recv(1)
    except ssl.SSLError as error:
        return sentence(error, f"{host}:{port}", tls)
    except OSError:
        return None
    return None
