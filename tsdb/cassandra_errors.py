"""What the driver's errors mean to the store, in one sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from cassandra import (
    AuthenticationFailed,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    ReadFailure,
    ReadTimeout,
    Unauthorized,
    Unavailable,
    WriteFailure,
    WriteTimeout,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import ErrorMessage

from .cassandra_settings import CassandraSettings
from .errors import StoreUnavailableError, TsdbConfigError

FAULTS: Final = (DriverException, NoHostAvailable, ConnectionException, ErrorMessage, OSError)
"""Everything that the driver raises."""
_TOO_FEW_REPLICAS: Final = (Unavailable, ReadTimeout, ReadFailure)
UNDECIDED: Final = (WriteTimeout, WriteFailure, OperationTimedOut, ConnectionException, NoHostAvailable)
"""A change that may have happened or not."""
_SAID_BYTES_MAX: Final = 300
_VERIFICATION: Final = re.compile(r"certificate verify failed: (.*?)(?: \(_ssl|$)")


def too_few_replicas(error: BaseException) -> bool:
    """Of a read: whether fewer replicas could still answer. Where every node was tried, what each of them said counts."""
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):
        return any(isinstance(each, _TOO_FEW_REPLICAS) for each in error.errors.values())
    return isinstance(error, _TOO_FEW_REPLICAS)


def unavailable(error: BaseException, doing: str) -> StoreUnavailableError:
    """Of a request in flight."""
    return StoreUnavailableError(f"Cassandra did not answer as it should while {doing}: {_sentence(error)}")


def at_start(error: BaseException, settings: CassandraSettings) -> TsdbConfigError | StoreUnavailableError:
    """Of connecting: what the operator must change, where that is known."""
    where = ", ".join(f"{host}:{settings.port}" for host in settings.hosts)
    for cause in _causes(error):
        advice = _advice(cause, settings)
        if advice is not None:
            return TsdbConfigError(f"Cassandra at {where}: {advice}")
    return StoreUnavailableError(f"Cassandra at {where} cannot be reached: {_sentence(error)}")


def _advice(error: BaseException, settings: CassandraSettings) -> str | None:
    if isinstance(error, AuthenticationFailed):
        if settings.username is None:
            return "it asks who we are: set the username and password"
        return f"it refuses user {settings.username!r}: check the username and password"
    # The driver keeps only the words of OpenSSL's errors.
    said = str(error)
    verification = _VERIFICATION.search(said)
    if verification is not None:
        why = verification[1].strip(" .")
        if "expired" in why:
            return "its certificate has expired: renew it"
        if "mismatch" in why or "match" in why:
            return f"its certificate is for another name ({why}): name the host as the certificate does"
        return f"its certificate is not trusted ({why}): set the CA's file"
    if "WRONG_VERSION_NUMBER" in said:
        return "it does not speak TLS on this port: remove `tls`, or turn encryption on there"
    if "CERTIFICATE_REQUIRED" in said:
        return "it asks for a certificate of ours: set the certificate's and the key's file"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what each host said."""
    yield error
    said = getattr(error, "errors", None)
    if isinstance(said, dict):
        for each in said.values():
            if isinstance(each, BaseException):
                yield each


def _sentence(error: BaseException) -> str:
    """The driver's words on one line, of a bounded length."""
    if isinstance(error, NoHostAvailable):
        hosts = (
            [f"{host}: {_sentence(each)}" for host, each in error.errors.items()]
            if isinstance(error.errors, dict)
            else []
        )
        return _short("; ".join(hosts) or "no node of the data center is there")
    if isinstance(error, Unavailable):
        return f"{error.alive_replicas} of the {error.required_replicas} replicas that are needed are there"
    if isinstance(error, OperationTimedOut):
        return "no answer in time"
    if isinstance(error, WriteTimeout | ReadTimeout):
        return f"{error.received_responses} of the {error.required_responses} replicas that are needed answered in time"
    if isinstance(error, Unauthorized):
        return _short(f"this user may not do that ({error})")
    if isinstance(error, InvalidRequest):
        return _short(f"it refuses the request ({error})")
    return _short(f"{type(error).__name__}: {error}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID_BYTES_MAX else line[:_SAID_BYTES_MAX] + "…"
