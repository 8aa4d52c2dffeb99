"""How rules ask the query service: against a small server that answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest

from alerts.errors import EvaluationError
from ops.rules_query import HttpQuery


class Handler(BaseHTTPRequestHandler):
    answer: ClassVar[bytes] = b""
    asked: ClassVar[list[tuple[str, str, dict[str, list[str]]]]] = []

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        Handler.asked.append((self.path, self.headers["Authorization"], form))
        self.send_response(200)
        self.send_header("Content-Length", str(len(Handler.answer)))
        self.end_headers()
        self.wfile.write(Handler.answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def query() -> Iterator[HttpQuery]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Handler.asked.clear()
    yield HttpQuery(f"http://127.0.0.1:{server.server_address[1]}", "the-token")
    server.shutdown()
    server.server_close()
    thread.join()


def answers(document: Any) -> None:
    Handler.answer = json.dumps(document).encode()


def data(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def test_a_vector_becomes_samples_and_the_question_is_asked_with_time_and_token(query: HttpQuery) -> None:
    answers(data("vector", [{"metric": {"job": "a"}, "value": [1, "2.5"]}, {"metric": {}, "value": [1, "NaN"]}]))
    first, second = query("up == 0", 1_500)
    assert first == ({"job": "a"}, 2.5)
    assert second[1] != second[1]
    assert Handler.asked == [
        ("/prometheus/api/v1/query", "Bearer the-token", {"query": ["up == 0"], "time": ["1.500"]})
    ]


def test_a_scalar_is_one_sample(query: HttpQuery) -> None:
    answers(data("scalar", [1, "7"]))
    assert query("7", 0) == [({}, 7.0)]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"status": "error", "error": "parse error at 3"}, "parse error at 3"),
        (data("matrix", []), "not a matrix"),
        (data("vector", [{"metric": {}, "value": ["x"]}]), "no instant vector"),
        ([], "refused"),
    ],
)
def test_anything_else_is_an_evaluation_error(query: HttpQuery, document: Any, reason: str) -> None:
    answers(document)
    with pytest.raises(EvaluationError, match=reason):
        query("x", 0)


def test_a_service_that_is_away_is_an_evaluation_error() -> None:
    with pytest.raises(EvaluationError, match="does not answer"):
        HttpQuery("http://127.0.0.1:1", "t")("x", 0)


def test_the_token_is_not_in_its_text() -> None:
    assert "s3cr3t" not in repr(HttpQuery("http://127.0.0.1:1", "s3cr3t"))
