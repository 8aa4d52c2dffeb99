"""What stands in S3's place when it misbehaves: a TCP proxy that loses answers, and an HTTP server that says what a test wants."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.servers.s3 import S3Server

_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) \S+ HTTP/1.1\r\n")


class LossyProxy:
    """In front of a server. `lose(request)` is asked once an answer comes: how many of its bytes pass before the connection is cut.

    A request is its method and path. None lets the answer pass.
    """

    def __init__(self, target: str, lose: Callable[[str], int | None]) -> None:
        self.requests: list[str] = []
        self._target = (str(urlsplit(target).hostname), int(urlsplit(target).port or 80))
        self._lose = lose
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._open += [client, server]
            current: list[str] = []
            self._start(self._relay, client, server, lambda data, c=current: self._hear(data, c))
            self._start(self._relay, server, client, lambda data, c=current: self._judge(data, c))

    def _relay(self, source: socket.socket, sink: socket.socket, passed: Callable[[bytes], int | None]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                limit = passed(data)
                sink.sendall(data[:limit])
                if limit is not None:
                    break
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _hear(self, data: bytes, current: list[str]) -> None:
        if _REQUEST.match(data):
            current[:] = [" ".join(data.split(b"\r\n", 1)[0].decode().split()[:2])]
            self.requests += current

    def _judge(self, data: bytes, current: list[str]) -> int | None:
        return None if data.startswith(b"HTTP/1.1 100") else self._lose(current[0])


@contextmanager
def losing(server: S3Server, method: str, query: str = "", times: int = 1, passed: int = 0) -> Iterator[LossyProxy]:
    """A proxy that loses the first answers to requests of that method and with that in their address."""
    lost: list[str] = []

    def lose(request: str) -> int | None:
        if not request.startswith(method) or query not in request or len(lost) >= times:
            return None
        lost.append(request)
        return passed

    proxy = LossyProxy(server.url, lose)
    try:
        yield proxy
    finally:
        proxy.close()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a scripted server got."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it says."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def error(status: int, code: str) -> Answer:
    """An error as S3 spells it."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>secret details</Message></Error>'
    return Answer(status, body.encode())


@contextmanager
def scripted(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """The address of a server that answers so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _say(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            address = urlsplit(self.path)
            said = answer(Asked(self.command, address.path, address.query, dict(self.headers.items()), body))
            self.send_response(said.status)
            for name, value in (*said.headers, ("Content-Length", str(len(said.body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else said.body)

        def log_message(self, format: str, *args: object) -> None:
            return

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._say)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
