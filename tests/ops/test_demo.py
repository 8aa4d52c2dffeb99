"""The demo's shop and its visitors."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from ops.demo_load import Visit, drive, visits
from ops.demo_shop import Shop, start


def test_a_seed_gives_the_same_visits() -> None:
    assert list(itertools.islice(visits(1), 200)) == list(itertools.islice(visits(1), 200))
    assert list(itertools.islice(visits(1), 20)) != list(itertools.islice(visits(2), 20))


def test_visits_are_of_several_kinds_and_about_as_frequent_as_meant() -> None:
    plan = list(itertools.islice(visits(1), 3000))
    assert {visit.path.split("/")[1] for visit in plan} == {"products", "checkout"}
    assert 300 < sum(visit.pause_s for visit in plan) < 900


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/products", b"", 200),
        ("GET", "/products/lamp", b"", 200),
        ("GET", "/products/sundial", b"", 404),
        ("GET", "/nowhere", b"", 404),
        ("POST", "/checkout", b'{"product": "lens", "quantity": 2, "card": 1}', 201),
        ("POST", "/checkout", b'{"product": "lens", "quantity": 2, "card": 7}', 402),
        ("POST", "/checkout", b'{"product": "lens", "quantity": 2, "card": 13}', 502),
        ("POST", "/checkout", b"{}", 400),
        ("POST", "/checkout", b"[", 400),
    ],
)
def test_answers(method: str, path: str, body: bytes, status: int) -> None:
    assert Shop(1).serve(method, path, body)[0] == status


def test_visitors_are_answered_over_http() -> None:
    server = start(Shop(1))
    plan = iter([Visit("GET", "/products", "", 0.0), Visit("POST", "/checkout", json.dumps({"card": 1}), 0.0)])
    try:
        assert drive("127.0.0.1", server.server_address[1], plan, threading.Event(), lambda: None) == 2
    finally:
        server.shutdown()
        server.server_close()


def test_a_shop_that_is_away_hurts_no_visitor() -> None:
    plan = iter([Visit("GET", "/products", "", 0.0)])
    assert drive("127.0.0.1", 1, plan, threading.Event(), lambda: None) == 0
