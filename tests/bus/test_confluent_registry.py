"""The registry's contract on a real server, and what is remembered while it is away."""

from __future__ import annotations

import json
import ssl
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from bus.confluent_registry import ConfluentRegistry
from bus.registry import (
    IncompatibleSchemaError,
    Registry,
    RegistryConfigError,
    RegistryUnavailableError,
    UnknownSchemaError,
)
from bus.tls import Tls
from heliograph.contracts import Schema
from tests.contracts.registry_suite import A, RegistryAdapter, RegistrySuite, record
from tests.servers.certificates import Authority
from tests.servers.registry import registry_url, start_registry


class _OwnSubjects:
    """A handle whose subjects nobody else uses."""

    def __init__(self, registry: Registry, own: str) -> None:
        self._registry = registry
        self._own = own

    def register(self, subject: str, schema: Schema) -> int:
        return self._registry.register(self._own + subject, schema)

    def schema(self, schema_id: int) -> Schema:
        return self._registry.schema(schema_id)

    def versions(self, subject: str) -> Mapping[int, int]:
        return self._registry.versions(self._own + subject)


class _Confluent:
    def __init__(self, url: str) -> None:
        self._url = url
        self._own = f"{uuid.uuid4().hex[:12]}/"

    def open(self) -> Registry:
        return _OwnSubjects(ConfluentRegistry(self._url), self._own)


class TestConfluentRegistry(RegistrySuite):
    @pytest.fixture
    def adapter(self) -> RegistryAdapter:
        return _Confluent(registry_url())


class _Scripted:
    """A server that answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.put_status = 200
        self.answer: object = {"schema": record(A).text}
        self.asked: list[tuple[str, str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _respond(self) -> None:
                outer.asked.append((self.command, self.path, self.headers.get("Authorization")))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.dumps(outer.answer).encode()
                self.send_response(outer.put_status if self.command == "PUT" else outer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = _respond  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}).start()


@pytest.fixture
def scripted() -> Iterator[_Scripted]:
    made = _Scripted()
    yield made
    made.server.shutdown()
    made.server.server_close()


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_known_id_is_never_asked_again_and_outlives_an_outage(scripted: _Scripted) -> None:
    registry = ConfluentRegistry(scripted.url)
    found = registry.schema(7)
    scripted.status = 503
    with pytest.raises(RegistryUnavailableError):
        registry.schema(8)
    assert registry.schema(7) is found
    assert [path for _, path, _ in scripted.asked] == ["/api/schemas/ids/7", "/api/schemas/ids/8"]


def test_an_unknown_id_is_asked_again_after_a_while(scripted: _Scripted) -> None:
    clock = _Clock()
    registry = ConfluentRegistry(scripted.url, negative_s=5.0, clock=clock)
    scripted.status = 404
    for _ in range(3):
        with pytest.raises(UnknownSchemaError):
            registry.schema(7)
    assert len(scripted.asked) == 1
    scripted.status, clock.now = 200, 5.0
    assert registry.schema(7).text == record(A).text


def test_an_outage_costs_one_question_and_ends(scripted: _Scripted) -> None:
    clock = _Clock()
    registry = ConfluentRegistry(scripted.url, negative_s=5.0, clock=clock)
    scripted.status = 500
    for schema_id in range(5):
        with pytest.raises(RegistryUnavailableError):
            registry.schema(schema_id)
    assert len(scripted.asked) == 1
    scripted.status, clock.now = 200, 5.0
    assert registry.schema(1).text == record(A).text


@pytest.mark.parametrize("status", [409, 422])
def test_a_refused_schema_is_the_callers_fault(scripted: _Scripted, status: int) -> None:
    registry = ConfluentRegistry(scripted.url)
    scripted.status, scripted.answer = status, {"error_code": status, "message": "no"}
    with pytest.raises(IncompatibleSchemaError, match="s: no"):
        registry.register("s", record(A))
    assert [method for method, _, _ in scripted.asked] == ["POST", "PUT", "POST"]


def test_a_wrong_password_is_told_without_it(scripted: _Scripted) -> None:
    registry = ConfluentRegistry(scripted.url, user="u", password="periwinkle")
    scripted.status = 401
    with pytest.raises(RegistryUnavailableError, match="check the name and the password") as caught:
        registry.schema(1)
    assert "periwinkle" not in str(caught.value)
    assert scripted.asked[0][2] == "Basic dTpwZXJpd2lua2xl"


def test_a_registry_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(RegistryUnavailableError, match="does not answer"):
        ConfluentRegistry("http://127.0.0.1:1/").schema(1)


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [(401, [], "check the name and the password"), (403, [], "check the name"), (404, {}, "no schema registry: check its url"),
     (200, {"hello": 1}, "no schema registry")],
)  # fmt: skip
def test_at_start_what_the_operator_must_change_is_told(
    scripted: _Scripted, status: int, answer: object, said: str
) -> None:
    scripted.status, scripted.answer = status, answer
    with pytest.raises(RegistryConfigError, match=said) as caught:
        ConfluentRegistry(scripted.url, user="u", password="periwinkle").check()
    assert "periwinkle" not in str(caught.value)


def test_at_start_a_registry_that_is_away_or_in_trouble_is_unavailable(scripted: _Scripted) -> None:
    scripted.status, scripted.answer = 503, {"message": "starting"}
    with pytest.raises(RegistryUnavailableError, match="starting"):
        ConfluentRegistry(scripted.url).check()
    with pytest.raises(RegistryUnavailableError, match="does not answer"):
        ConfluentRegistry("http://127.0.0.1:1/").check()


def test_a_registry_that_lets_us_in_passes(scripted: _Scripted) -> None:
    scripted.answer = ["JSON", "AVRO"]
    ConfluentRegistry(scripted.url).check()


@pytest.mark.parametrize("url", ["", "registry:8081", "ftp://registry"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(RegistryConfigError, match="must begin with http"):
        ConfluentRegistry(url)


def test_a_registry_with_an_expired_or_foreign_certificate_is_told(tmp_path: Path) -> None:
    ours, strangers = trustme.CA(), trustme.CA()
    (tmp_path / "ca.pem").write_bytes(ours.cert_pem.bytes())
    past = datetime.now(UTC) - timedelta(days=1)
    for authority, not_after, said in ((ours, past, "has expired"), (strangers, None, "nobody whom we trust")):
        certificate = authority.issue_cert("127.0.0.1", not_after=not_after, not_before=past - timedelta(days=1))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        try:
            url = f"https://127.0.0.1:{server.server_address[1]}"
            with pytest.raises(RegistryConfigError, match=said):
                ConfluentRegistry(url, tls=Tls(tmp_path / "ca.pem")).check()
        finally:
            server.shutdown()
            server.server_close()


def test_a_real_registry_is_reached_by_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    url, server = start_registry(authority.issue("registry", "127.0.0.1"))
    registry = ConfluentRegistry(url, tls=Tls(authority.ca_file))
    registry.check()
    schema_id = registry.register("thing", record(A))
    assert registry.schema(schema_id).fingerprint == record(A).fingerprint
    server.kill()
