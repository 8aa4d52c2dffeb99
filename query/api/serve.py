"""Serving the application until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Generator

import uvicorn
from starlette.applications import Starlette

from .flow import FlowStream

_BEAT_S = 0.5
HEADER_BYTES_MAX = 64 * 1024
DRAIN_S = 3


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError when the port is in use. Port 0 means a free one."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the role owns SIGTERM and SIGINT."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve(
    app: Starlette, flow: FlowStream, listener: socket.socket, stop: threading.Event, beat: Callable[[], None]
) -> None:
    """Serve until `stop` is set; `beat` is called from the event loop, so that a loop that hangs is seen."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        timeout_graceful_shutdown=DRAIN_S, timeout_keep_alive=75, server_header=False,
    )  # fmt: skip
    server = _Server(config)

    async def watch() -> None:
        while not stop.is_set():
            beat()
            await asyncio.sleep(_BEAT_S)
        flow.closing.set()
        server.should_exit = True

    async def main() -> None:
        watcher = asyncio.create_task(watch())
        await server.serve([listener])
        await watcher

    with asyncio.Runner() as runner:
        runner.run(main())
