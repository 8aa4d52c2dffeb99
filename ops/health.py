"""A role's own small HTTP server: /healthz (its main loop goes round), /readyz (it can do its work, or why not), /metrics."""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, ProcessCollector, generate_latest

from ops.ports import url_of

BEAT_AGE_MAX_S: Final = 10.0
START_MAX_S: Final = 60.0
"""Before its first beat a role may wait for engines to answer, each with its own time limit."""
_REQUEST_TIMEOUT_S: Final = 5.0
_STARTING: Final = {"start": "starting"}


class Health:
    """What a role says of itself; safe to use from every thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._beat_s = clock_s()
        self._has_begun = False
        self._reasons: Mapping[str, str] = _STARTING
        self._notes: Mapping[str, str] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        ready = Gauge("heliograph_ready", "1 when the role can do its work", registry=self.registry)
        ready.set_function(lambda: float(not self._reasons))

    def beat(self) -> None:
        """The main loop has gone round once more."""
        self._beat_s = self._clock_s()
        self._has_begun = True

    def set_ready(self, reasons: Mapping[str, str]) -> None:
        """Why the role cannot do its work, by part; empty when it can."""
        self._reasons = dict(reasons)

    def set_notes(self, notes: Mapping[str, str]) -> None:
        """What is worth knowing by part although the role does its work."""
        self._notes = dict(notes)

    def beat_age_s(self) -> float:
        """Seconds since the last beat."""
        return self._clock_s() - self._beat_s

    def healthz(self) -> tuple[int, bytes]:
        """Status and JSON body."""
        age_s = self.beat_age_s()
        alive = age_s <= (BEAT_AGE_MAX_S if self._has_begun else START_MAX_S)
        return (200 if alive else 503), _json({"status": "ok" if alive else "stuck", "beat_age_s": round(age_s, 1)})

    def readyz(self) -> tuple[int, bytes]:
        """Status and JSON body."""
        reasons = self._reasons
        said = {"ready": not reasons, "reasons": dict(reasons), "notes": dict(self._notes)}
        return (503 if reasons else 200), _json(said)


class HealthServer:
    """Serves a Health from a thread; /metrics needs the token when there is one."""

    def __init__(self, health: Health, token: str | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        """`port` 0: a free one. Raises OSError when it cannot listen there."""
        handler = type("Handler", (_Handler,), {"health": health, "token": token})
        self._host = host
        self._server = _Server((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return url_of(self._host, self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: whoever asked has not waited for the answer."""


class _Handler(BaseHTTPRequestHandler):
    health: Health
    token: str | None
    timeout = _REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._send(*self.health.healthz())
        elif path == "/readyz":
            self._send(*self.health.readyz())
        elif path != "/metrics":
            self._send(404, _json({"error": "only /healthz, /readyz and /metrics are here"}))
        elif not self._may_read_metrics():
            self._send(401, _json({"error": "send the token as `Authorization: Bearer …`"}))
        else:
            self._send(200, generate_latest(self.health.registry), CONTENT_TYPE_LATEST)

    def _may_read_metrics(self) -> bool:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if self.token is None:
            return True
        return scheme.lower() == "bearer" and hmac.compare_digest(value.strip().encode(), self.token.encode())

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the supervisor asks every second."""


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode() + b"\n"
