"""Prometheus' HTTP API under /prometheus/api/v1, GET and POST forms."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import anyio
import orjson
from starlette.datastructures import ImmutableMultiDict, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from query.promql.ast import VectorSelector
from query.promql.engine import Engine, Result
from query.promql.parser import parse
from query.promql.render import render
from tsdb.samples import Matcher, SampleStore

from . import params

FORM_BYTES_MAX = 1024 * 1024
CONCURRENT_QUERIES_MAX = 4
_DAY_MS = 86_400_000

T = TypeVar("T")


def success(data: bytes, result: Result | None = None) -> Response:
    """The success envelope around JSON text."""
    extra = b""
    if result is not None and result.warnings:
        extra += b',"warnings":' + orjson.dumps(list(result.warnings))
    if result is not None and result.infos:
        extra += b',"infos":' + orjson.dumps(list(result.infos))
    return Response(b'{"status":"success","data":' + data + extra + b"}", media_type="application/json")


def failure(status: int, kind: str, message: str) -> Response:
    """The error envelope; `kind` is Prometheus' errorType."""
    body = orjson.dumps({"status": "error", "errorType": kind, "error": message})
    return Response(body, status, media_type="application/json")


class Prometheus:
    """The endpoints over one engine and one store; queries run in threads, at most CONCURRENT_QUERIES_MAX at once."""

    def __init__(
        self,
        engine: Engine,
        store: SampleStore,
        *,
        tenant: str = "default",
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._store = store
        self._tenant = tenant
        self._clock_s = clock_s
        self._slots: anyio.CapacityLimiter | None = None

    def routes(self) -> list[Route]:
        """Relative to /prometheus."""
        both = ["GET", "POST"]
        return [
            Route("/api/v1/query", self.query, methods=both),
            Route("/api/v1/query_range", self.query_range, methods=both),
            Route("/api/v1/labels", self.labels, methods=both),
            Route("/api/v1/label/{name}/values", self.label_values),
            Route("/api/v1/series", self.series, methods=both),
            Route("/api/v1/metadata", self.metadata),
            Route("/api/v1/status/buildinfo", self.buildinfo),
        ]

    async def query(self, request: Request) -> Response:
        args = await _arguments(request)
        text = params.required(args, "query")
        at_ms = params.seconds_as_ms(args, "time", self._now_ms())
        result = await self._run(functools.partial(self._engine.instant, self._tenant, text, at_ms))
        return success(await self._run(functools.partial(render, result)), result)

    async def query_range(self, request: Request) -> Response:
        args = await _arguments(request)
        text = params.required(args, "query")
        start_ms, end_ms = params.seconds_as_ms(args, "start"), params.seconds_as_ms(args, "end")
        if end_ms < start_ms:
            raise params.BadParameterError('invalid parameter "end": end timestamp must not be before start time')
        step_ms = params.duration_ms(args, "step")
        result = await self._run(functools.partial(self._engine.range, self._tenant, text, start_ms, end_ms, step_ms))
        return success(await self._run(functools.partial(render, result)), result)

    async def labels(self, request: Request) -> Response:
        args = await _arguments(request)
        names: set[str] = set()
        for matchers in _selectors(args, required=False):
            names.update(
                await self._run(functools.partial(self._store.label_names, self._tenant, matchers, *self._range(args)))
            )
        return success(orjson.dumps(_limited(sorted(names), args)))

    async def label_values(self, request: Request) -> Response:
        args = await _arguments(request)
        name = request.path_params["name"]
        values: set[str] = set()
        for matchers in _selectors(args, required=False):
            read = functools.partial(self._store.label_values, self._tenant, name, matchers, *self._range(args))
            values.update(await self._run(read))
        return success(orjson.dumps(_limited(sorted(values), args)))

    async def series(self, request: Request) -> Response:
        args = await _arguments(request)
        found = set()
        for matchers in _selectors(args, required=True):
            found.update(
                await self._run(functools.partial(self._store.series, self._tenant, matchers, *self._range(args)))
            )
        return success(orjson.dumps([dict(labels) for labels in _limited(sorted(found), args)]))

    async def metadata(self, request: Request) -> Response:
        args = await _arguments(request)
        known = await self._run(functools.partial(self._store.metadata, self._tenant, args.get("metric") or None))
        entries: dict[str, list[dict[str, str]]] = {}
        for entry in known:
            entries.setdefault(entry.name, []).append({"type": entry.kind, "unit": entry.unit, "help": entry.help})
        kept = _limited(list(entries.items()), args)
        return success(orjson.dumps(dict(kept)))

    async def buildinfo(self, request: Request) -> Response:
        info = {"version": "3.0.0", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
        return success(orjson.dumps(info))

    def _now_ms(self) -> int:
        return round(self._clock_s() * 1000)

    def _range(self, args: Mapping[str, str]) -> tuple[int, int]:
        """start and end of metadata requests; absent ones mean the last day, so that Grafana's first screen is cheap."""
        now_ms = self._now_ms()
        end_ms = min(params.seconds_as_ms(args, "end", now_ms), now_ms + _DAY_MS)
        return params.seconds_as_ms(args, "start", min(now_ms, end_ms) - _DAY_MS), end_ms

    async def _run(self, work: Callable[[], T]) -> T:
        if self._slots is None:
            self._slots = anyio.CapacityLimiter(CONCURRENT_QUERIES_MAX)
        return await anyio.to_thread.run_sync(work, limiter=self._slots)


async def _arguments(request: Request) -> ImmutableMultiDict[str, str]:
    """Parameters of the URL and, for POST, of the form, which wins."""
    query: QueryParams = request.query_params
    if request.method != "POST":
        return query
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise params.BadParameterError(f"the form is larger than {FORM_BYTES_MAX} bytes")
    return QueryParams(query.multi_items() + QueryParams(body.decode("utf-8", "replace")).multi_items())


def _selectors(args: ImmutableMultiDict[str, str], *, required: bool) -> list[Sequence[Matcher]]:
    texts = args.getlist("match[]")
    if not texts:
        if required:
            raise params.BadParameterError("no match[] parameter provided")
        return [()]
    selectors: list[Sequence[Matcher]] = []
    for text in texts:
        expression = parse(text)
        if not isinstance(expression, VectorSelector):
            raise params.BadParameterError(f'invalid parameter "match[]": {text} is not a series selector')
        selectors.append(expression.matchers)
    return selectors


def _limited(items: Sequence[T], args: Mapping[str, str]) -> Sequence[T]:
    limit = params.integer(args, "limit", 0, 0, 2**53)
    return items[:limit] if limit else items
