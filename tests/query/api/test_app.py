"""The query service as Grafana, curl and the page meet it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from query.api.app import Services, build
from query.api.auth import SESSION_S, Sessions
from query.api.flow import Flow, StoreFlow
from query.promql.engine import Engine
from query.promql.memory import MemoryStore
from search.port import (
    Balance,
    Document,
    LogSearch,
    Page,
    QuerySyntaxError,
    SearchUnavailableError,
    Stream,
    TraceSearch,
)
from tsdb.samples import MetricMetadata

TOKEN = "correct-horse"
TRACE = "0af7651916cd43dd8448eb211c80319c"
AT_MS = 1_700_000_000_000


def series(path: str) -> tuple[tuple[str, str], ...]:
    return (("__name__", "http_requests_total"), ("job", "api"), ("path", path))


def span(index: int, parent: str = "") -> Document:
    source = {
        "@timestamp": "2023-11-14T22:13:20.000000000Z", "trace_id": TRACE, "span_id": f"{index:016x}",
        "parent_span_id": parent, "name": f"op-{index}", "kind": "Server", "duration": 1_500_000,
        "status": {"code": "Error", "message": "no"}, "attributes": {"http.status": 500, "ok": False},
        "resource": {"attributes": {"service.name": "api", "host.name": "h"}}, "events": [], "links": [],
    }  # fmt: skip
    return Document(f"s-{index}", "traces", "default", AT_MS * 1_000_000 + index, 1, 1, source)


def log(index: int) -> Document:
    source = {
        "@timestamp": "2023-11-14T22:13:20.000000000Z", "severity_text": "INFO", "body": {"text": f"hello {index}"},
        "attributes": {"n": index}, "resource": {"attributes": {"service.name": "api"}}, "trace_id": TRACE, "span_id": "",
    }  # fmt: skip
    return Document(f"l-{index}", "logs", "default", AT_MS * 1_000_000 + index, 1, 1, source)


class Documents:
    """A document reader that answers what the test set, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[LogSearch | TraceSearch] = []
        self.failure: Exception | None = None

    def _maybe_fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def logs(self, search: LogSearch) -> Page:
        self._maybe_fail()
        self.asked.append(search)
        return Page([log(2), log(1)], 17, "c")

    def trace(self, tenant: str, trace_id: str) -> Sequence[Document]:
        self._maybe_fail()
        return [span(1), span(2, parent=f"{1:016x}")] if trace_id == TRACE else []

    def traces(self, search: TraceSearch) -> Sequence[Sequence[Document]]:
        self.asked.append(search)
        return [[span(1)]]

    def services(self, tenant: str) -> Sequence[str]:
        return ["api", "web"]

    def operations(self, tenant: str, service: str) -> Sequence[str]:
        return [f"{service}-op"]

    def documents(self, tenant: str, stream: Stream, start_ns: int, end_ns: int) -> Sequence[Document]:
        return []

    def balances(self, tenant: str, stream: Stream, start_minute: int, end_minute: int) -> Sequence[Balance]:
        return []


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def not_ready() -> dict[str, str]:
    return {}


@pytest.fixture
def open_client(documents: Documents, not_ready: dict[str, str], tmp_path: Path) -> Iterator[TestClient]:
    """A client that shows no token."""
    points = [(AT_MS - 60_000 + 15_000 * i, float(10 * i)) for i in range(5)]
    store = MemoryStore(
        {series("/a"): points, series("/b"): points},
        [MetricMetadata("http_requests_total", "counter", "", "Requests.")],
    )
    (tmp_path / "index.html").write_text("<title>page</title>")
    flow = Flow(1, {"telemetry.logs": 3}, {"search": StoreFlow(5, 0, True)})
    services = Services(
        store, Engine(store), documents, lambda: flow, lambda: not_ready, lambda: b"own_metric 1\n", tmp_path
    )
    codes = {"once"}

    def redeem(code: str) -> bool:
        if code not in codes:
            return False
        codes.remove(code)
        return True

    app, _ = build(services, Sessions(TOKEN, lambda: 1000.0), redeem)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def client(open_client: TestClient) -> TestClient:
    """A client with the token."""
    open_client.headers["Authorization"] = f"Bearer {TOKEN}"
    return open_client


def data(client: TestClient, path: str, **params: str) -> Any:
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_only_health_is_open(open_client: TestClient) -> None:
    assert open_client.get("/healthz").status_code == 200
    assert open_client.get("/readyz").status_code == 200
    for path in ("/", "/metrics", "/api/logs", "/prometheus/api/v1/labels", "/jaeger/api/services", "/api/flow"):
        assert open_client.get(path).status_code == 401, path


@pytest.mark.parametrize("wrong", ["Bearer nope", "Bearer ", "Basic !!", "Basic dXNlcjpub3Bl", "Digest x", ""])
def test_a_wrong_token_is_refused(open_client: TestClient, wrong: str) -> None:
    assert open_client.get("/api/logs", headers={"Authorization": wrong}).status_code == 401


def test_the_token_is_also_the_password_of_basic_auth(open_client: TestClient) -> None:
    assert open_client.get("/api/logs", auth=("anyone", TOKEN)).status_code == 200


def test_a_login_code_buys_a_session_once(open_client: TestClient) -> None:
    answer = open_client.get("/?code=once")
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert open_client.get("/").text == "<title>page</title>"
    open_client.cookies.clear()
    assert open_client.get("/?code=once").status_code == 401


def test_sessions_expire_and_cannot_be_forged() -> None:
    now = [1000.0]
    sessions = Sessions(TOKEN, lambda: now[0])
    cookie = sessions.issue()
    assert sessions.cookie_is_good(cookie)
    assert not Sessions("another", lambda: now[0]).cookie_is_good(cookie)
    assert not sessions.cookie_is_good(f"{10**12}.{cookie.partition('.')[2]}")
    now[0] += SESSION_S
    assert not sessions.cookie_is_good(cookie)
    assert TOKEN not in repr(sessions)


def test_readiness_says_why_not(open_client: TestClient, not_ready: dict[str, str]) -> None:
    not_ready["search"] = "the folder cannot be read"
    answer = open_client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["reasons"] == {"search": "the folder cannot be read"}


def test_every_answer_carries_the_content_policy(client: TestClient) -> None:
    for path in ("/", "/healthz", "/none"):
        assert client.get(path).headers["content-security-policy"].startswith("default-src 'self'")


def test_an_instant_query(client: TestClient) -> None:
    answer = data(
        client,
        "/prometheus/api/v1/query",
        query='sum(rate(http_requests_total{path="/a"}[1m]))',
        time=str(AT_MS // 1000),
    )
    assert answer["resultType"] == "vector"
    assert answer["result"] == [{"metric": {}, "value": [AT_MS // 1000, "0.6666666666666666"]}]


def test_a_range_query_by_form(client: TestClient) -> None:
    form = {"query": "http_requests_total", "start": str(AT_MS // 1000 - 15), "end": str(AT_MS // 1000), "step": "15s"}
    answer = client.post("/prometheus/api/v1/query_range", data=form).json()["data"]
    assert [s["metric"]["path"] for s in answer["result"]] == ["/a", "/b"]
    assert answer["result"][0]["values"] == [[AT_MS // 1000 - 15, "30"], [AT_MS // 1000, "40"]]


def test_grafanas_health_check_at_the_epoch_works(client: TestClient) -> None:
    assert data(client, "/prometheus/api/v1/query", query="1+1", time="4") == {
        "resultType": "scalar",
        "result": [4, "2"],
    }


@pytest.mark.parametrize(
    ("params", "status", "kind"),
    [
        ({}, 400, "bad_data"),
        ({"query": "sum("}, 400, "bad_data"),
        ({"query": "1", "time": "soon"}, 400, "bad_data"),
        ({"query": "http_requests_total + ignoring(path) http_requests_total"}, 422, "execution"),
    ],
)
def test_what_cannot_be_answered_is_said_as_prometheus_says_it(
    client: TestClient, params: dict[str, str], status: int, kind: str
) -> None:
    answer = client.get("/prometheus/api/v1/query", params={"time": str(AT_MS // 1000), **params})
    assert (answer.status_code, answer.json()["status"], answer.json()["errorType"]) == (status, "error", kind)
    assert "Traceback" not in answer.text


def test_too_many_points_are_refused(client: TestClient) -> None:
    answer = client.get(
        "/prometheus/api/v1/query_range", params={"query": "1", "start": "0", "end": "11001", "step": "1"}
    )
    assert answer.status_code == 400 and "11,000 points" in answer.json()["error"]


def test_metadata_endpoints(client: TestClient) -> None:
    span_of_time = {"start": str(AT_MS // 1000 - 3600), "end": str(AT_MS // 1000)}
    assert data(client, "/prometheus/api/v1/labels", **span_of_time) == ["__name__", "job", "path"]
    assert data(client, "/prometheus/api/v1/label/path/values", **span_of_time) == ["/a", "/b"]
    assert data(client, "/prometheus/api/v1/label/path/values", limit="1", **span_of_time) == ["/a"]
    found = data(client, "/prometheus/api/v1/series", **{"match[]": '{path="/a"}', **span_of_time})
    assert found == [{"__name__": "http_requests_total", "job": "api", "path": "/a"}]
    assert data(client, "/prometheus/api/v1/metadata") == {
        "http_requests_total": [{"type": "counter", "unit": "", "help": "Requests."}]
    }
    assert client.get("/prometheus/api/v1/series").status_code == 400
    assert client.get("/prometheus/api/v1/series", params={"match[]": "sum(up)"}).status_code == 400


def test_logs_are_asked_for_and_shown(client: TestClient, documents: Documents) -> None:
    answer = client.get(
        "/api/logs", params={"q": "hello", "severity": "warn", "start": "1700000000", "limit": "2", "cursor": "b"}
    )
    assert documents.asked == [
        LogSearch(text="hello", severity="warn", start_ns=AT_MS * 1_000_000, limit=2, cursor="b")
    ]
    body = answer.json()
    assert (body["total"], body["next"]) == (17, "c")
    assert body["records"][0] == {
        "id": "l-2", "timestamp": "2023-11-14T22:13:20.000000000Z", "service": "api", "severity_text": "INFO", "body": "hello 2",
        "trace_id": TRACE, "span_id": "", "attributes": {"n": 2}, "resource": {"service.name": "api"},
    }  # fmt: skip


def test_a_search_that_fails_tells_whose_fault_it_is(client: TestClient, documents: Documents) -> None:
    documents.failure = QuerySyntaxError('the phrase that starts with "hel is not closed')
    assert client.get("/api/logs").status_code == 400
    documents.failure = SearchUnavailableError("the index is away")
    assert client.get("/api/logs").status_code == 503
    assert client.get("/api/logs", params={"limit": "0"}).status_code == 400


def test_a_trace_in_jaegers_shape(client: TestClient) -> None:
    (trace,) = data(client, f"/jaeger/api/traces/{TRACE.upper()}")
    first, second = trace["spans"]
    assert trace["traceID"] == TRACE and trace["processes"]["p1"]["serviceName"] == "api"
    assert first["references"] == [] and second["references"][0]["spanID"] == first["spanID"]
    assert (first["startTime"], first["duration"]) == (AT_MS * 1000, 1500)
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in first["tags"]}
    assert tags["http.status"] == ("int64", 500) and tags["ok"] == ("bool", False)
    assert tags["error"] == ("bool", True) and tags["span.kind"] == ("string", "server")


def test_a_trace_that_is_not_there_is_404_and_never_an_empty_list(client: TestClient) -> None:
    assert client.get(f"/jaeger/api/traces/{'1' * 32}").status_code == 404
    assert client.get("/jaeger/api/traces/xyz").status_code == 400


def test_traces_are_searched_by_jaegers_parameters(client: TestClient, documents: Documents) -> None:
    params = {
        "service": "api", "operation": "op", "tags": '{"http.status":"500"}', "minDuration": "1.5ms", "start": "1700000000000000",
        "limit": "5",
    }  # fmt: skip
    assert len(data(client, "/jaeger/api/traces", **params)) == 1
    assert documents.asked == [
        TraceSearch(
            service="api", operation="op", attributes={"http.status": "500"}, start_ns=AT_MS * 1_000_000, duration_min_ns=1_500_000, limit=5
        )
    ]  # fmt: skip
    assert client.get("/jaeger/api/traces", params={"tags": "[1]"}).status_code == 400
    assert data(client, "/jaeger/api/services") == ["api", "web"]
    assert data(client, "/jaeger/api/services/web/operations") == ["web-op"]


def test_unknown_api_paths_are_404(client: TestClient) -> None:
    for path in ("/alertmanager/api/v2/status", "/prometheus/api/v1/none", "/loki/api/v1/labels"):
        assert client.get(path).status_code == 404, path


def test_one_snapshot_of_the_flow(client: TestClient) -> None:
    body = client.get("/api/flow").json()
    assert body["topics"] == {"telemetry.logs": 3} and body["stores"]["search"] == {"items": 5, "lag": 0, "ready": True}
