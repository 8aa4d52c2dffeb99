"""Transport to the agent on this machine: batches as one HTTP request, kept alive between requests."""

from __future__ import annotations

import codecs
import http.client
import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from . import contracts
from .errors import RefusedError, UnavailableError
from .message import BUNDLE_CONTENT_TYPE, Message, encode_bundle

DEFAULT_ENDPOINT = "http://127.0.0.1:4318"
PATH = "/heliograph/v1/batches"
_REFUSED = frozenset({400, 413, 415, 422})
_REPLY_BYTES_MAX = 64 * 1024
_DETAIL_CHARS_MAX = 300
_RETRY_AFTER_S_MAX = 60.0
# Servers close idle connections after a few seconds; a send into a closing one would fail without a cause.
_IDLE_S_MAX = 2.0

# Resolving a host imports this codec at its first use; a fork at that moment would leave the child an import lock held for ever.
codecs.lookup("idna")


@dataclass(frozen=True, slots=True)
class _Connection:
    http: http.client.HTTPConnection
    pid: int
    used_at_s: float


class AgentTransport:
    """Sends to `endpoint`, an http or https URL; with `token`, as a bearer.

    Every thread has its own connection, and a forked child opens its own. Raises ValueError when the endpoint is not such a URL.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        token: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self._scheme, self._host, self._port, self._path = _parse(endpoint)
        self._headers = {"Content-Type": BUNDLE_CONTENT_TYPE}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._monotonic = monotonic
        self._connections: dict[int, _Connection] = {}
        self._left_by_parent: list[http.client.HTTPConnection] = []

    def __repr__(self) -> str:
        return f"AgentTransport({self.endpoint!r})"

    def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        """Post the batches; the agent answers 200 when the bus has them all."""
        body = encode_bundle(messages)
        deadline = self._monotonic() + timeout_s
        try:
            status, retry_after, reply = self._post(body, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._drop(threading.get_ident())
            raise UnavailableError(f"{self.endpoint}: {type(error).__name__}: {error}") from error
        if status == 200:
            _learn_ids(reply)
            return
        detail = f"{self.endpoint} answered {status}: {reply.decode('utf-8', 'replace')[:_DETAIL_CHARS_MAX]}"
        if status in _REFUSED:
            raise RefusedError(detail, status)
        raise UnavailableError(detail, _seconds(retry_after))

    def close(self) -> None:
        """Close the connections of all threads."""
        for thread_id in list(self._connections):
            self._drop(thread_id)

    def _drop(self, thread_id: int) -> None:
        connection = self._connections.pop(thread_id, None)
        if connection is None:
            return
        if connection.pid == os.getpid():
            connection.http.close()
        elif connection.http.sock is not None:
            # A thread of the parent may have been reading: its buffers are locked for ever, so only the descriptor is closed.
            self._left_by_parent.append(connection.http)
            os.close(connection.http.sock.detach())

    def _post(self, body: bytes, deadline: float) -> tuple[int, str | None, bytes]:
        connection = self._connect(deadline)
        connection.request("POST", self._path, body, self._headers)
        self._limit(connection, deadline)
        response = connection.getresponse()
        self._limit(connection, deadline)
        reply = response.read(_REPLY_BYTES_MAX)
        if not response.isclosed() or response.will_close:
            response.close()
            self._drop(threading.get_ident())
        else:
            self._keep(connection)
        return response.status, response.getheader("Retry-After"), reply

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        kept = self._connections.get(threading.get_ident())
        if kept and kept.pid == os.getpid() and self._monotonic() - kept.used_at_s < _IDLE_S_MAX:
            self._limit(kept.http, deadline)
            return kept.http
        self._drop(threading.get_ident())
        kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._left(deadline))
        self._keep(connection)
        connection.connect()
        self._limit(connection, deadline)
        return connection

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        self._connections[threading.get_ident()] = _Connection(connection, os.getpid(), self._monotonic())

    def _left(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def _limit(self, connection: http.client.HTTPConnection, deadline: float) -> None:
        if connection.sock is not None:
            connection.sock.settimeout(self._left(deadline))


def _learn_ids(reply: bytes) -> None:
    """The agent says which ids its registry has for our schemas; a reply that says nothing of them is as good."""
    try:
        said = json.loads(reply)["schemas"]
        for name in {topic.schema for topic in contracts.topics().values()} & said.keys():
            schema = contracts.schema(name)
            if schema.fingerprint.hex() == said[name]["fingerprint"] and schema.wire_id != said[name]["id"]:
                contracts.learn(schema, int(said[name]["id"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return


def _parse(endpoint: str) -> tuple[str, str, int, str]:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the endpoint must be a URL such as {DEFAULT_ENDPOINT}, not {endpoint!r}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/") + PATH


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(seconds, _RETRY_AFTER_S_MAX) if math.isfinite(seconds) and seconds >= 0 else None
