"""The real query service over data in memory, and a browser."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from query.api.app import Services, build
from query.api.auth import Sessions
from query.api.flow import Flow, StoreFlow
from query.api.serve import listen, serve
from query.promql.engine import Engine
from query.promql.memory import MemoryStore
from search import port

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TRACE = "0af7651916cd43dd8448eb211c80319c"
HOSTILE = "<img src=x onerror=document.title='pwned'> & friends"


def _resource(service: str) -> dict[str, object]:
    return {"attributes": {"service.name": service}}


class Documents:
    """A trace of three spans, and log records of two services."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns

    def logs(self, search: port.LogSearch) -> port.Page:
        found = [self._log(i) for i in range(5)]
        if search.service:
            found = [d for d in found if d.source["resource"]["attributes"]["service.name"] == search.service]
        if search.text.startswith("("):
            raise port.QuerySyntaxError("a query cannot start with a parenthesis")
        return port.Page(found, len(found), None)

    def _log(self, index: int) -> port.Document:
        at = self._now_ns - index * 1_000_000_000
        text = HOSTILE if index == 0 else f"order {index} taken"
        source = {
            "@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1_000_000_000)) + ".000000000Z",
            "severity_text": "ERROR" if index == 0 else "INFO", "body": {"text": text}, "attributes": {"order": index},
            "resource": _resource("shop" if index < 3 else "stock"), "trace_id": TRACE, "span_id": "",
        }  # fmt: skip
        return port.Document(f"log-{index}", "logs", "default", at, 1, 1, source)

    def trace(self, tenant: str, trace_id: str) -> Sequence[port.Document]:
        spans = [("GET /order", "", 0, 90), ("reserve", "1", 10, 40), ("charge", "1", 55, 30)]
        return [self._span(str(i + 1), *entry) for i, entry in enumerate(spans)]

    def _span(self, span_id: str, name: str, parent: str, start_ms: int, took_ms: int) -> port.Document:
        at = self._now_ns + start_ms * 1_000_000
        source = {
            "trace_id": TRACE, "span_id": span_id, "parent_span_id": parent, "name": name,
            "kind": "Server", "duration": took_ms * 1_000_000,
            "status": {"code": "Error" if name == "charge" else "Unset"}, "attributes": {}, "resource": _resource("shop"),
        }  # fmt: skip
        return port.Document(f"span-{span_id}", "traces", "default", at, 1, 1, source)

    def traces(self, search: port.TraceSearch) -> Sequence[Sequence[port.Document]]:
        return [self.trace("default", TRACE)]

    def services(self, tenant: str) -> Sequence[str]:
        return ["shop"]

    def operations(self, tenant: str, service: str) -> Sequence[str]:
        return ["GET /order"]

    def documents(self, tenant: str, stream: port.Stream, start_ns: int, end_ns: int) -> Sequence[port.Document]:
        return []

    def balances(self, tenant: str, stream: port.Stream, start_minute: int, end_minute: int) -> Sequence[port.Balance]:
        return []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the service answers, with a login code in place of a token."""
    now_ns = time.time_ns()
    now_ms = now_ns // 1_000_000
    points = [(now_ms - 900_000 + i * 15_000, float(i * (1 + i % 3))) for i in range(61)]
    store = MemoryStore(
        {(("__name__", "node_cpu_seconds_total"), ("cpu", "0"), ("mode", mode)): points for mode in ("user", "system")}
    )
    counts = iter(range(10**6))

    def flow() -> Flow:
        n = next(counts)
        return Flow(time.time_ns() // 1_000_000, {"telemetry.logs": n * 3}, {"search": StoreFlow(n * 100, 0, True)})

    static = Path(str(resources.files("web"))) / "static"
    services = Services(store, Engine(store), Documents(now_ns), flow, dict, lambda: b"", static)
    app, stream = build(services, Sessions("token"), lambda code: code == "again")
    listener, stop = listen("127.0.0.1", 0), threading.Event()
    thread = threading.Thread(target=serve, args=(app, stream, listener, stop, lambda: None))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    thread.join(10)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    """A browser that is signed in; every error of its console fails the test that looks at `errors`."""
    if not CHROMIUM.exists():
        missing = "Chromium is missing: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 1400})
        page.set_default_timeout(15_000)
        page.goto(f"{address}/?code=again")
        page.wait_for_url(f"{address}/")
        yield page
        browser.close()
