"""The demo's service: a shop with products and a checkout, instrumented as any application would be, with OpenTelemetry."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from ops.demo_load import PRODUCTS

_BODY_BYTES_MAX: Final = 4096
_PRICES: Final = {product: 10 + 7 * i for i, product in enumerate(PRODUCTS)}
_log = logging.getLogger("shop")


class OrderError(Exception):
    """The order cannot be taken; `status` is the answer's."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Shop:
    """What the shop does, apart from HTTP; safe to use from several threads."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._tracer = trace.get_tracer("shop")
        meter = metrics.get_meter("shop")
        self.requests = meter.create_histogram("http.server.request.duration", "s", "Duration of requests.")
        self._orders = meter.create_counter("shop.orders", "{order}", "Orders taken.")
        self._revenue = meter.create_counter("shop.revenue", "{euro}", "Money taken.")
        self._active = meter.create_up_down_counter(
            "http.server.active_requests", "{request}", "Requests being served."
        )

    def serve(self, method: str, path: str, body: bytes) -> tuple[HTTPStatus, object]:
        """Status and JSON answer, within a span and with its duration measured."""
        route = "/products/{name}" if path.startswith("/products/") else path
        begun_s = time.monotonic()
        self._active.add(1)
        attributes = {"http.request.method": method, "http.route": route}
        with self._tracer.start_as_current_span(
            f"{method} {route}", kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            try:
                status, answer = self._route(method, path, body)
            except OrderError as error:
                status, answer = error.status, {"error": str(error)}
            span.set_attribute("http.response.status_code", int(status))
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
        self._active.add(-1)
        self.requests.record(time.monotonic() - begun_s, {**attributes, "http.response.status_code": int(status)})
        return status, answer

    def _route(self, method: str, path: str, body: bytes) -> tuple[HTTPStatus, object]:
        if (method, path) == ("GET", "/products"):
            return HTTPStatus.OK, self._look_up(None)
        if method == "GET" and path.startswith("/products/"):
            return HTTPStatus.OK, self._look_up(path.removeprefix("/products/"))
        if (method, path) == ("POST", "/checkout"):
            return HTTPStatus.CREATED, self._check_out(body)
        return HTTPStatus.NOT_FOUND, {"error": "no such page"}

    def _look_up(self, product: str | None) -> dict[str, int]:
        with self._tracer.start_as_current_span("SELECT products", kind=SpanKind.CLIENT) as span:
            span.set_attribute("db.system.name", "sqlite")
            self._work(0.002)
        if product is None:
            return dict(_PRICES)
        if product not in _PRICES:
            _log.warning("no product is called %s", product)
            raise OrderError(HTTPStatus.NOT_FOUND, f"no product is called {product}")
        _log.info("product looked at", extra={"product": product})
        return {product: _PRICES[product]}

    def _check_out(self, body: bytes) -> dict[str, int]:
        try:
            order = json.loads(body)
            product, quantity, card = str(order["product"]), int(order["quantity"]), int(order["card"])
            price = _PRICES[product] * quantity
        except (ValueError, KeyError, TypeError) as error:
            raise OrderError(HTTPStatus.BAD_REQUEST, "an order names product, quantity and card") from error
        with self._tracer.start_as_current_span("reserve stock"):
            self._work(0.004)
        self._charge(card, price)
        self._orders.add(1, {"product": product})
        self._revenue.add(price, {"product": product})
        _log.info("order taken", extra={"product": product, "quantity": quantity, "price": price})
        return {"price": price}

    def _charge(self, card: int, price: int) -> None:
        with self._tracer.start_as_current_span("charge card", kind=SpanKind.CLIENT) as span:
            span.set_attribute("payment.amount", price)
            self._work(0.2 if card % 25 == 0 else 0.010)
            if card % 20 == 7:
                span.set_status(Status(StatusCode.ERROR, "declined"))
                _log.error("card declined", extra={"price": price})
                raise OrderError(HTTPStatus.PAYMENT_REQUIRED, "the card was declined")
            if card == 13:
                span.set_status(Status(StatusCode.ERROR, "no answer"))
                _log.error("the bank does not answer", extra={"price": price})
                raise OrderError(HTTPStatus.BAD_GATEWAY, "the bank does not answer")

    def _work(self, mean_s: float) -> None:
        with self._lock:
            duration_s = min(1.0, self._random.expovariate(1.0 / mean_s))
        time.sleep(duration_s)


def start(shop: Shop) -> ThreadingHTTPServer:
    """Serve the shop on loopback, on a free port, from a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"shop": shop}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="shop", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    shop: Shop
    timeout = 10

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() and len(length) < 10 else _BODY_BYTES_MAX + 1
        if size > _BODY_BYTES_MAX:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        self._answer(self.rfile.read(size))

    def _answer(self, body: bytes) -> None:
        status, answer = self.shop.serve(self.command, self.path.partition("?")[0], body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the shop logs what matters."""
