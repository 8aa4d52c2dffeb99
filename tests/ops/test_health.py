"""A role's health server over real HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from prometheus_client import Counter

from ops.health import BEAT_AGE_MAX_S, START_MAX_S, Health, HealthServer
from ops.role_process import Probe, probe


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


@pytest.fixture
def server(health: Health) -> Iterator[HealthServer]:
    server = HealthServer(health, "the-token")
    yield server
    server.close()


def get(server: HealthServer, path: str, token: str = "") -> tuple[int, bytes]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_it_listens_on_loopback_only(server: HealthServer) -> None:
    assert urlsplit(server.url).hostname == "127.0.0.1"


def test_a_role_may_wait_for_its_engines_before_it_begins(server: HealthServer, clock: Clock) -> None:
    clock.now_s += START_MAX_S
    assert get(server, "/healthz")[0] == 200
    clock.now_s += 0.1
    assert get(server, "/healthz")[0] == 503


def test_a_role_is_alive_while_its_loop_beats(server: HealthServer, health: Health, clock: Clock) -> None:
    health.beat()
    clock.now_s += BEAT_AGE_MAX_S
    assert get(server, "/healthz")[0] == 200
    clock.now_s += 0.1
    status, body = get(server, "/healthz")
    assert (status, json.loads(body)) == (503, {"status": "stuck", "beat_age_s": 10.1})
    health.beat()
    assert get(server, "/healthz")[0] == 200


def test_a_role_is_not_ready_until_it_says_so_and_says_why(server: HealthServer, health: Health) -> None:
    assert get(server, "/readyz")[0] == 503
    health.set_ready({})
    assert (get(server, "/readyz")[0], json.loads(get(server, "/readyz")[1])["ready"]) == (200, True)
    health.set_ready({"store": "the disk is full"})
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, {"store": "the disk is full"})


def test_what_is_worth_knowing_is_said_and_the_role_stays_ready(server: HealthServer, health: Health) -> None:
    health.set_ready({})
    health.set_notes({"spool": "the bus is away"})
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)["notes"]) == (200, {"spool": "the bus is away"})


def test_metrics_need_the_token(server: HealthServer, health: Health) -> None:
    Counter("things", "Things.", registry=health.registry).inc(3)
    assert get(server, "/metrics")[0] == 401
    assert get(server, "/metrics", "wrong")[0] == 401
    status, body = get(server, "/metrics", "the-token")
    assert status == 200
    assert b"things_total 3.0" in body
    assert b"process_resident_memory_bytes" in body


def test_other_paths_are_not_there(server: HealthServer) -> None:
    assert get(server, "/")[0] == 404


def test_the_supervisors_probe_sees_the_same(server: HealthServer, health: Health, clock: Clock) -> None:
    health.beat()
    assert probe(server.url) == Probe(True, False, (("start", "starting"),))
    health.set_ready({})
    assert probe(server.url) == Probe(True, True)
    clock.now_s += 60
    assert probe(server.url) == Probe(False)
    assert probe("http://127.0.0.1:1") == Probe(False)
