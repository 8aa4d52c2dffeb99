"""The receiver as a source: an HTTP server in the thread that runs it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import uvicorn

from bus.registry import Registry
from collectors.digests import Digests
from collectors.drops import Drops
from collectors.errors import ReceiverError
from collectors.http_body import Budget
from collectors.intake import Intake
from collectors.outbox import Outbox
from collectors.receiver import receiver_app
from heliograph.identity import Mint

_BEAT_S = 0.1
_DRAIN_S = 3
_CONNECTIONS_MAX = 512


class ReceiverSource:
    """Listens on `host` and `port` (0: a free one, kept over restarts); `on_ready` is told the port when requests are taken.

    Raises ReceiverError when the host is not loopback and there is no token.
    """

    name = "receiver"

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None,
        outbox: Outbox,
        registry: Registry,
        drops: Drops,
        mint: Mint,
        *,
        digests_path: Path,
        time_ns: Callable[[], int],
        on_ready: Callable[[int], None],
    ) -> None:
        if not is_loopback(host) and not token:
            raise ReceiverError(
                f"the receiver on {host} can be reached from elsewhere: give it a token, or use 127.0.0.1"
            )
        self._host = host
        self._port = port
        self._token = None if is_loopback(host) else token
        self._outbox = outbox
        self._registry = registry
        self._drops = drops
        self._mint = mint
        self._digests_path = digests_path
        self._time_ns = time_ns
        self._on_ready = on_ready
        self._counts: dict[str, int | float | str] = {}

    def status(self) -> dict[str, int | float | str]:
        return dict(self._counts)

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        digests = Digests.open(self._digests_path, lambda: self._time_ns() / 1e9)
        with closing(digests), closing(self._listen()) as listener:
            intake = Intake(self._outbox, self._registry, digests, self._drops, self._mint, self._time_ns)
            with closing(intake):
                self._counts = intake.counts  # type: ignore[assignment]
                asyncio.run(self._serve(intake, listener, stop, beat))

    async def _serve(
        self, intake: Intake, listener: socket.socket, stop: threading.Event, beat: Callable[[], None]
    ) -> None:
        config = uvicorn.Config(
            receiver_app(intake, self._token, Budget()),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http="httptools",
            loop="asyncio",
            limit_concurrency=_CONNECTIONS_MAX,
            timeout_graceful_shutdown=_DRAIN_S,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        is_told = False
        while not stop.is_set() and not serving.done():
            beat()
            if server.started and not is_told:
                is_told = True
                self._on_ready(self._port)
            await asyncio.sleep(_BEAT_S)
        server.should_exit = True
        await serving

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
            raise ReceiverError(
                f"cannot listen on {self._host}:{self._port} ({reason}): choose another port"
            ) from error
        self._port = int(listener.getsockname()[1])
        return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; names other than localhost count as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
