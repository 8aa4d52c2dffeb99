"""What is flowing now: a live stream of counts for the page, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

INTERVAL_S = 2.0
STREAMS_MAX = 20


@dataclass(frozen=True, slots=True)
class StoreFlow:
    """One router's store."""

    items: int
    """Log records, spans or samples written since the router started."""
    lag: int
    """Messages on the bus that it has not committed yet."""
    ready: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """A snapshot."""

    time_ms: int
    topics: Mapping[str, int]
    """Messages ever appended, by topic."""
    stores: Mapping[str, StoreFlow]


class FlowStream:
    """GET /api/flow: one snapshot as JSON, or a stream of them for `Accept: text/event-stream`."""

    def __init__(self, snapshot: Callable[[], Flow]) -> None:
        self._snapshot = snapshot
        self._open = 0
        self.closing = asyncio.Event()

    async def get(self, request: Request) -> Response:
        if "text/event-stream" not in request.headers.get("accept", ""):
            return Response(await self._json(), media_type="application/json")
        if self._open >= STREAMS_MAX:
            return Response(b'{"error":"too many live pages are open"}', 503, media_type="application/json")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(), media_type="text/event-stream", headers=headers)

    async def _events(self) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            while not self.closing.is_set():
                yield b"event: flow\ndata: " + await self._json() + b"\n\n"
                try:
                    await asyncio.wait_for(self.closing.wait(), INTERVAL_S)
                except TimeoutError:
                    continue
        finally:
            self._open -= 1

    async def _json(self) -> bytes:
        return orjson.dumps(asdict(await run_in_threadpool(self._snapshot)))
