"""The receiver: OTLP over HTTP and the client's batches, as a Starlette app."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from collectors import bundles, http_body
from collectors.errors import BusyError, RequestError
from collectors.http_body import Budget
from collectors.intake import Intake
from collectors.otlp_encoding import CONTENT_TYPES, Encoding, Signal, failure, success
from heliograph.message import BUNDLE_CONTENT_TYPE

_SIGNALS: tuple[Signal, ...] = ("logs", "traces", "metrics")
_Handler = Callable[[Request], Awaitable[Response]]


def receiver_app(intake: Intake, token: str | None = None, budget: Budget | None = None) -> Starlette:
    """The app. With a token every request but /healthz needs it as `Authorization: Bearer`."""
    budget = budget or Budget()
    routes = [Route(f"/v1/{s}", _guarded(_otlp(intake, s, budget), token), methods=["POST"]) for s in _SIGNALS]
    routes += [
        Route("/heliograph/v1/batches", _guarded(_batches(intake, budget), token), methods=["POST"]),
        Route("/heliograph/v1/schemas", _guarded(_schemas, token), methods=["GET"]),
        Route("/healthz", _healthz, methods=["GET"]),
    ]
    return Starlette(routes=routes)


def _guarded(handler: _Handler, token: str | None) -> _Handler:
    if token is None:
        return handler
    expected = f"Bearer {token}".encode()

    async def guarded(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected):
            answer = _error(request, RequestError(401, "a token is needed: Authorization: Bearer <token>"))
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return await handler(request)

    return guarded


def _otlp(intake: Intake, signal: Signal, budget: Budget) -> _Handler:
    async def handle(request: Request) -> Response:
        encoding = CONTENT_TYPES.get(_media_type(request))
        if encoding is None:
            return _error(request, RequestError(415, f"content type must be one of {', '.join(CONTENT_TYPES)}"))
        with budget.lease() as lease:
            try:
                body = await _body(request, lease, intake)
                taken = await intake.otlp(signal, body, encoding)
            except RequestError as error:
                return _error(request, error)
            except ClientDisconnect:
                return Response(status_code=400)
        answer = success(signal, taken.items_refused, taken.reason, encoding)
        return Response(answer.body, answer.status, media_type=answer.content_type)

    return handle


def _batches(intake: Intake, budget: Budget) -> _Handler:
    async def handle(request: Request) -> Response:
        if _media_type(request) != BUNDLE_CONTENT_TYPE:
            return _plain_error(RequestError(415, f"content type must be {BUNDLE_CONTENT_TYPE}"))
        with budget.lease() as lease:
            try:
                accepted = await intake.bundle(await _body(request, lease, intake))
            except RequestError as error:
                return _plain_error(error)
            except ClientDisconnect:
                return Response(status_code=400)
        return _json({"accepted": accepted, "schemas": bundles.schemas()})

    return handle


async def _schemas(request: Request) -> Response:
    return _json(bundles.schemas())


async def _healthz(request: Request) -> Response:
    return _json({"status": "ok"})


async def _body(request: Request, lease: http_body.Lease, intake: Intake) -> bytes:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", ""):
        raise RequestError(415, f"content encoding {coding!r} is not taken: use gzip or none")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > http_body.BODY_BYTES_MAX:
        raise RequestError(413, f"the body is larger than {http_body.BODY_BYTES_MAX} bytes: send smaller batches")
    body = await http_body.read(request.stream(), lease)
    if coding != "gzip":
        return body
    whole = await intake.in_worker(lambda: http_body.gunzip(body))
    lease.grow(len(whole))
    return whole


def _error(request: Request, error: RequestError) -> Response:
    """In the request's encoding, protobuf when it is neither."""
    encoding: Encoding = CONTENT_TYPES.get(_media_type(request), "protobuf")
    answer = failure(error.status, str(error), encoding)
    return Response(answer.body, answer.status, _retry_after(error), answer.content_type)


def _plain_error(error: RequestError) -> Response:
    return _json({"error": str(error)}, error.status, _retry_after(error))


def _retry_after(error: RequestError) -> dict[str, str]:
    return {"Retry-After": str(error.retry_after_s)} if isinstance(error, BusyError) else {}


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _json(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status, headers, "application/json")
