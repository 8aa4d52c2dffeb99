"""The query service: every API on one port, behind one token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from query.promql.engine import Engine
from query.promql.errors import ExecutionError, LimitError, ParseError, PromqlError, UnsupportedError
from query.promql.limits import DEFAULT_LIMITS
from search.port import DocumentReader, QuerySyntaxError, SearchUnavailableError
from tsdb.errors import TsdbError
from tsdb.samples import SampleStore

from .auth import RequireToken, Sessions
from .flow import Flow, FlowStream
from .jaeger import Jaeger
from .logs import Logs
from .params import BadParameterError
from .prometheus import Prometheus, failure

URL_BYTES_MAX = 64 * 1024
_SECURITY = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


@dataclass(frozen=True, slots=True)
class Services:
    """What the query service answers from."""

    samples: SampleStore
    engine: Engine
    documents: DocumentReader
    flow: Callable[[], Flow]
    ready: Callable[[], dict[str, str]]
    """Reasons why a store cannot answer, by name; empty when all can."""
    metrics: Callable[[], bytes]
    """The service's own metrics in Prometheus' text format."""
    static: Path
    """Folder of the page."""


class SecurityHeaders:
    """Adds the page's content policy to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_SECURITY]
            await send(message)

        await self._app(scope, receive, with_headers)


def build(services: Services, sessions: Sessions, redeem: Callable[[str], bool]) -> tuple[Starlette, FlowStream]:
    """The application, and its live stream (whose `closing` ends open pages at shutdown)."""
    flow = FlowStream(services.flow)

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        reasons = await run_in_threadpool(services.ready)
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(request: Request) -> Response:
        return Response(services.metrics(), media_type="text/plain; version=0.0.4")

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Mount("/prometheus", routes=Prometheus(services.engine, services.samples).routes()),
        Mount("/jaeger", routes=Jaeger(services.documents).routes()),
        Route("/api/logs", Logs(services.documents).search),
        Route("/api/flow", flow.get),
        Mount("/", StaticFiles(directory=services.static, html=True, check_dir=False)),
    ]
    middleware = [
        Middleware(SecurityHeaders),
        Middleware(RequireToken, sessions=sessions, redeem=redeem),
        Middleware(GZipMiddleware, minimum_size=4096, compresslevel=1),
    ]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=_HANDLERS)
    return app, flow


async def _refused(request: Request, error: Exception) -> Response:
    return failure(400, "bad_data", str(error))


async def _over_limit(request: Request, error: Exception) -> Response:
    """Too many points is the request's own fault, as Prometheus sees it; too many samples is found out while executing."""
    asked_too_much = isinstance(error, LimitError) and error.limit == DEFAULT_LIMITS.points_max
    return failure(400, "bad_data", str(error)) if asked_too_much else failure(422, "execution", str(error))


async def _not_executed(request: Request, error: Exception) -> Response:
    return failure(422, "execution", str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    return failure(503, "unavailable", str(error))


async def _broken(request: Request, error: Exception) -> Response:
    return failure(500, "internal", "an error of ours, see the query service's log")


_HANDLERS = {
    BadParameterError: _refused,
    ParseError: _refused,
    UnsupportedError: _refused,
    LimitError: _over_limit,
    ExecutionError: _not_executed,
    PromqlError: _not_executed,
    QuerySyntaxError: _refused,
    SearchUnavailableError: _unavailable,
    TsdbError: _unavailable,
    Exception: _broken,
}
