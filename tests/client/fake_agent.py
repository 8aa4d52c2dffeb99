"""An HTTP server that answers as the agent does, from a script."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from heliograph.message import Message, decode_bundle


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    hang_up: bool = False
    """Read the request, then close without an answer."""


class FakeAgent:
    """Answers from `script`, then 200; keeps what it was sent."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.requests: list[tuple[str, dict[str, str], list[Message]]] = []
        self.connections = 0
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def messages(self) -> list[Message]:
        return [m for _, _, messages in self.requests for m in messages]


@contextlib.contextmanager
def fake_agent() -> Iterator[FakeAgent]:
    """A fake agent on a free port of the loopback."""
    agent = FakeAgent()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            agent.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            agent.requests.append((self.path, dict(self.headers), decode_bundle(body)))
            answer = agent.script.pop(0) if agent.script else Answer()
            if answer.hang_up:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    agent.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
