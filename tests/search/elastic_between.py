"""An HTTP server between a client and Elasticsearch, or in its place: each request is answered by a rule of the test."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HEADERS = {"content-type": "application/json", "x-elastic-product": "Elasticsearch"}


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: dict(_HEADERS))


LOST = Reply(0)
"""The connection is closed without a word."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: bytes
    upstream: str | None

    @property
    def is_bulk(self) -> bool:
        return "/_bulk" in self.path and b'{"create"' in self.body

    def forward(self) -> Reply:
        """What the real server answers."""
        parts = urlsplit(self.upstream or "")
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            headers = {"content-type": "application/x-ndjson" if "/_bulk" in self.path else "application/json"}
            connection.request(self.method, self.path, self.body or None, headers if self.body else {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read())
        finally:
            connection.close()


Rule = Callable[[Request], Reply]


class Between:
    """Use it as a context."""

    def __init__(self, rule: Rule, upstream: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Request] = []
        self._rule = rule
        self._upstream = upstream
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Between:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def bulks(self) -> list[Request]:
        return [request for request in self.seen if request.is_bulk]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        between = self

        class Handler(BaseHTTPRequestHandler):
            # One request for each connection, so that no thread waits for another when the test ends.
            protocol_version = "HTTP/1.0"

            def log_message(self, format: str, *args: Any) -> None:
                return

            def handle(self) -> None:
                try:
                    super().handle()
                except (ConnectionError, ssl.SSLError):
                    # The client went away, which is what some tests are about.
                    self.close_connection = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = Request(self.command, self.path, body, between._upstream)
                between.seen.append(request)
                reply = between._rule(request)
                if reply is LOST:
                    return
                self.send_response_only(reply.status)
                for name, value in {**reply.headers, "content-length": str(len(reply.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        return Handler


def greeting(number: str = "9.1.0", **more: str) -> Reply:
    return as_json({"version": {"number": number, **more}, "tagline": "You Know, for Search"})


def as_json(body: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode())


def failure(status: int, kind: str = "some_exception", reason: str = "because") -> Reply:
    return as_json({"error": {"type": kind, "reason": reason}, "status": status}, status)
