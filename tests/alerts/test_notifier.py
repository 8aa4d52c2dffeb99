"""Webhooks hear of every change once, and again after a failure or a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from alerts.errors import EvaluationError
from alerts.evaluator import Evaluator
from alerts.notifier import REPEAT_S, RETRY_S, Notifier
from alerts.rules import AlertRule, RuleGroup
from alerts.state import Alert, Sample
from alerts.webhook import DeliveryError, post

LOG = structlog.stdlib.get_logger()
Post = Callable[[str, Mapping[str, Any]], None]


def alert(state: str = "firing", host: str = "a") -> Alert:
    return Alert({"alertname": "Hot", "host": host}, {"summary": "s"}, state, 1.0, 0.0, 10.0, 10.0, 20.0)  # type: ignore[arg-type]


def notifier(sent: list[Mapping[str, Any]], failing: list[bool] | None = None) -> Notifier:
    def take(url: str, body: Mapping[str, Any]) -> None:
        if failing and failing.pop():
            raise DeliveryError("away")
        sent.append(body)

    return Notifier(["http://127.0.0.1:1/hook"], "http://127.0.0.1:4354", take, LOG)


def test_a_change_is_told_once_and_repeated_while_it_fires() -> None:
    sent: list[Mapping[str, Any]] = []
    teller = notifier(sent)
    for now_s in (0.0, 15.0, REPEAT_S - 1, REPEAT_S):
        teller.notify([alert()], now_s)
    assert [body["status"] for body in sent] == ["firing", "firing"]
    teller.notify([alert("resolved")], REPEAT_S + 15)
    teller.notify([alert("resolved")], 3 * REPEAT_S)
    assert [body["status"] for body in sent][2:] == ["resolved"]


def test_pending_alerts_and_those_resolved_unheard_of_are_not_told() -> None:
    sent: list[Mapping[str, Any]] = []
    notifier(sent).notify([alert("pending"), alert("resolved", "b")], 0.0)
    assert sent == []


def test_a_failed_post_is_tried_again() -> None:
    sent: list[Mapping[str, Any]] = []
    teller = notifier(sent, failing=[False, True])
    assert [teller.notify([alert()], t) for t in (0.0, RETRY_S / 2, RETRY_S)] == [1, 0, 0]
    assert len(sent) == 1


def test_the_body_is_version_four() -> None:
    sent: list[Mapping[str, Any]] = []
    notifier(sent).notify([alert(), alert("resolved", "b")], 30.0)
    (body,) = sent
    assert body["version"] == "4" and body["status"] == "firing" and body["groupKey"] == '{}:{alertname="Hot"}'
    assert body["commonLabels"] == {"alertname": "Hot"} and body["groupLabels"] == {"alertname": "Hot"}
    first, second = body["alerts"]
    assert first["startsAt"] == "1970-01-01T00:00:10.000Z" and first["endsAt"] == "0001-01-01T00:00:00Z"
    assert second["status"] == "resolved" and second["endsAt"] == "1970-01-01T00:00:20.000Z"
    assert len({a["fingerprint"] for a in body["alerts"]}) == 2


@pytest.fixture
def hook() -> Iterator[tuple[str, list[bytes]]]:
    """A real receiver: its URL, and the bodies that it took; it refuses a path with `no` in it."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(500 if "no" in self.path else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def test_a_receiver_gets_the_json_and_its_refusal_is_an_error(hook: tuple[str, list[bytes]]) -> None:
    url, bodies = hook
    post(url + "/ok", {"version": "4"}, 5.0)
    assert orjson.loads(bodies[0]) == {"version": "4"}
    with pytest.raises(DeliveryError, match="answered 500"):
        post(url + "/no", {}, 5.0)
    with pytest.raises(DeliveryError):
        post("http://127.0.0.1:1/", {}, 1.0)


class Query:
    """Answers what the test says."""

    def __init__(self) -> None:
        self.answer: Sequence[Sample] | Exception = []

    def __call__(self, expr: str, time_ms: int) -> Sequence[Sample]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def evaluator(tmp_path: Path, query: Query, sent: list[Mapping[str, Any]], clock: list[float]) -> Evaluator:
    group = RuleGroup("f.yml", "g", 10.0, (AlertRule("Hot", "cpu > 1", 0.0, 0.0, {}, {}),), ())
    return Evaluator([group], query, notifier(sent), tmp_path / "alerts" / "state.json", LOG, lambda: clock[0])


def test_a_restart_between_firing_and_resolving_tells_both_once(tmp_path: Path) -> None:
    sent: list[Mapping[str, Any]] = []
    query, clock = Query(), [100.0]
    query.answer = [({"host": "a"}, 2.0)]
    evaluator(tmp_path, query, sent, clock).turn()
    clock[0] = 120.0
    evaluator(tmp_path, query, sent, clock).turn()
    assert [body["status"] for body in sent] == ["firing"]
    query.answer, clock[0] = [], 140.0
    evaluator(tmp_path, query, sent, clock).turn()
    assert [body["status"] for body in sent] == ["firing", "resolved"]


def test_a_failing_query_changes_no_alert(tmp_path: Path) -> None:
    sent: list[Mapping[str, Any]] = []
    query, clock = Query(), [100.0]
    query.answer = [({"host": "a"}, 2.0)]
    rules = evaluator(tmp_path, query, sent, clock)
    rules.turn()
    query.answer, clock[0] = EvaluationError("store away"), 120.0
    rules.turn()
    assert [a.state for a in rules.alerts()] == ["firing"] and list(rules.errors.values()) == ["store away"]


def test_a_broken_state_file_is_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "alerts").mkdir()
    (tmp_path / "alerts" / "state.json").write_text("{")
    assert evaluator(tmp_path, Query(), [], [1.0]).alerts() == []
