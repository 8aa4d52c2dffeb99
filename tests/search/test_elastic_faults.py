"""Faults of Elasticsearch and of what stands before it, from an HTTP server that answers as the test says."""

from __future__ import annotations

import gc
import json
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from bus.tls import Tls
from search.elastic_items import all_created
from search.elastic_mapping import Types, mappings, settings
from search.elastic_reader import ElasticReader
from search.elastic_settings import ElasticSettings
from search.elastic_writer import ElasticWriter
from search.port import (
    Batch,
    Document,
    DocumentFaultError,
    LogSearch,
    SearchConfigError,
    SearchUnavailableError,
    StoreWritten,
    Stream,
)
from tests.contracts.documents import log
from tests.search.elastic_between import LOST, Between, Reply, Request, Rule, as_json, failure, greeting

SECRET = "s3cr3t-v4lu3"
Bulk = Callable[[Sequence[str]], Reply]


class Double:
    """As much of a server as a writer needs; its bulk answers are the test's."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk

    def __call__(self, request: Request) -> Reply:
        path = request.path.split("?")[0]
        if path == "/":
            return greeting()
        if path == "/_index_template/_simulate":
            return as_json({"template": {}})
        if path.startswith("/_index_template/_simulate_index/"):
            return as_json({"template": template("traces" if "/traces-" in path else "logs")})
        if path.startswith("/_resolve/index/"):
            return failure(404, "index_not_found_exception")
        if path.endswith("/_refresh"):
            return as_json({"_shards": {"failed": 0}})
        if path.endswith("/_bulk"):
            return self._bulk([json.loads(line)["create"]["_id"] for line in request.body.splitlines()[::2]])
        return failure(500, "unexpected", path)


def template(stream: Stream) -> dict[str, Any]:
    types = Types(match_only_text=True, constant_keyword=True, words=True)
    found = mappings(stream, types)
    return {
        "settings": {"index": {**settings(types)["index"], "number_of_replicas": "1"}},
        "mappings": dict(found),
        "lifecycle": {"enabled": True},
    }


def items(*said: tuple[int, str, str]) -> Reply:
    """A bulk answer: of each item its status, and the type and reason of its error."""
    return as_json({"items": [{"create": _item(*one)} for one in said]})


def _item(status: int, kind: str, reason: str) -> dict[str, Any]:
    found: dict[str, Any] = {"status": status, "_index": ".ds-1"}
    return found | ({} if status == 201 else {"error": {"type": kind, "reason": reason}})


CREATED = (201, "", "")
REJECTED = (429, "es_rejected_execution_exception", "queue full")
MAPPING = (
    400,
    "document_parsing_exception",
    "[1:9] failed to parse field [a] in document with id 'x'. Preview: 'private'",
)


def writer(between: Between, waits: list[float] | None = None, **changed: Any) -> ElasticWriter:
    waited = [] if waits is None else waits
    return ElasticWriter(ElasticSettings((between.url,), **changed), sleep=waited.append, random_=lambda: 0.0)


def write(found: ElasticWriter, count: int) -> StoreWritten:
    documents = [log(i) for i in range(count)]
    try:
        return found.write([Batch(documents, False)])
    finally:
        found.close()


def test_items_that_are_rejected_are_sent_again_alone_after_a_growing_wait() -> None:
    answers = [items(CREATED, REJECTED, REJECTED), items(REJECTED, CREATED), items(CREATED)]
    sent: list[Sequence[str]] = []
    waits: list[float] = []

    def bulk(ids: Sequence[str]) -> Reply:
        sent.append(ids)
        return answers.pop(0)

    with Between(Double(bulk)) as between:
        written = write(writer(between, waits), 3)
    assert (written.created, written.duplicates) == (3, 0)
    assert sent == [[log(0).id, log(1).id, log(2).id], [log(1).id, log(2).id], [log(1).id]]
    assert waits == sorted(waits) and len(waits) == 2 and waits[0] > 0


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (failure(429, "circuit_breaking_exception", "too large"), "429"),
        (failure(503, "cluster_block_exception", "no master"), "no master"),
        (Reply(502, b"<html>Bad Gateway</html>", {"content-type": "text/html"}), "502"),
        (Reply(200, b"<html>Log in</html>", {"content-type": "text/html"}), "proxy"),
        (Reply(200, b'{"items":[', {"content-type": "application/json"}), "proxy"),
        (Reply(200, b"\xff\xfe", {"content-type": "image/png"}), "attempts"),
        (items(CREATED), "proxy"),
        (LOST, "cannot be reached"),
    ],
)
def test_an_answer_that_tells_nothing_is_tried_again_and_then_the_stores_fault(reply: Reply, words: str) -> None:
    def bulk(ids: Sequence[str]) -> Reply:
        sent.append(ids)
        return reply

    sent: list[Sequence[str]] = []
    with Between(Double(bulk)) as between, pytest.raises(SearchUnavailableError, match=words):
        write(writer(between, attempts_max=3), 2)
    assert len(sent) == 3


def test_documents_that_cannot_be_stored_are_told_after_the_others_are_stored() -> None:
    with Between(Double(lambda ids: items(CREATED, MAPPING, CREATED))) as between:
        with pytest.raises(DocumentFaultError) as caught:
            write(writer(between), 3)
        assert between.seen[-1].path.split("?")[0].endswith("/_refresh")
    (fault,) = caught.value.faults
    assert (fault.position, fault.reason) == (1, "mapping")
    assert "failed to parse field [a]" in fault.detail
    assert "private" not in str(caught.value)
    assert caught.value.written == StoreWritten(2, 0)


def test_a_document_that_fails_alone_is_its_own_fault() -> None:
    with Between(Double(lambda ids: items(MAPPING))) as between, pytest.raises(DocumentFaultError):
        write(writer(between), 1)


def test_most_documents_refused_is_the_stores_fault() -> None:
    refusing = Double(lambda ids: items(MAPPING, CREATED, MAPPING))
    with Between(refusing) as between, pytest.raises(SearchUnavailableError, match="refuses 2 of 3 documents"):
        write(writer(between), 3)


@pytest.mark.parametrize(
    "said",
    [
        (404, "index_not_found_exception", "no such index and [require_data_stream] request is [true]"),
        (403, "security_exception", "action is unauthorized"),
        (400, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams"),
        (401, "security_exception", "expired"),
    ],
)
def test_a_refusal_that_does_not_name_the_document_is_the_stores_fault(said: tuple[int, str, str]) -> None:
    with Between(Double(lambda ids: items(CREATED, CREATED, said))) as between, pytest.raises(SearchUnavailableError):
        write(writer(between), 3)


def test_after_a_fault_the_templates_are_verified_again() -> None:
    answers = [items((404, "index_not_found_exception", "no such index")), items(CREATED)]
    with Between(Double(lambda ids: answers.pop(0))) as between:
        found = writer(between)
        with pytest.raises(SearchUnavailableError):
            found.write([Batch([log(0)], False)])
        before = len([r for r in between.seen if "_simulate_index" in r.path])
        found.write([Batch([log(0)], True)])
        found.close()
        assert len([r for r in between.seen if "_simulate_index" in r.path]) == 2 * before


def test_ids_that_cannot_be_looked_up_are_the_stores_fault_and_nothing_is_sent_again() -> None:
    """Whether a 409 is a duplicate can only be told by what is stored."""
    held = (409, "version_conflict_engine_exception", "document already exists")
    with Between(Double(lambda ids: items(CREATED, held))) as between:
        with pytest.raises(SearchUnavailableError, match="unexpected"):
            write(writer(between), 2)
        assert len(between.bulks()) == 1


def test_a_request_too_large_is_halved_and_a_document_too_large_is_its_own_fault() -> None:
    def bulk(ids: Sequence[str]) -> Reply:
        return Reply(413, b"") if len(ids) > 2 or log(5).id in ids else items(*[CREATED] * len(ids))

    with Between(Double(bulk)) as between, pytest.raises(DocumentFaultError) as caught:
        write(writer(between), 8)
    assert [(f.position, f.reason) for f in caught.value.faults] == [(5, "oversize")]
    assert caught.value.written.created == 7


def test_a_document_that_is_no_json_is_its_own_fault() -> None:
    bad = Document("a-0-0", "logs", "default", 1, 2, 3, {"attributes": {"a": "\ud800"}})
    with Between(Double(lambda ids: items(*[CREATED] * len(ids)))) as between:
        found = writer(between)
        with pytest.raises(DocumentFaultError) as caught:
            found.write([Batch([log(0), bad, log(1)], False)])
        found.close()
    assert [(f.position, f.reason) for f in caught.value.faults] == [(1, "encoding")]


def test_bulk_bodies_stay_within_their_limit() -> None:
    with Between(Double(lambda ids: items(*[CREATED] * len(ids)))) as between:
        assert write(writer(between, bulk_bytes_max=4096), 100).created == 100
        sizes = [len(request.body) for request in between.bulks()]
    assert max(sizes) <= 4096 < 2 * sorted(sizes)[1]


def test_bulks_in_flight_are_waited_for_when_one_fails() -> None:
    """So that nothing of a write that failed is still under way when its documents come again."""
    ended: list[str] = []
    slow = threading.Event()

    def bulk(ids: Sequence[str]) -> Reply:
        if log(0).id in ids:
            slow.set()
            return items(*[(404, "index_not_found_exception", "none")] * len(ids))
        slow.wait(30)
        ended.append(ids[0])
        return items(*[CREATED] * len(ids))

    with Between(Double(bulk)) as between:
        with pytest.raises(SearchUnavailableError):
            write(writer(between, bulk_bytes_max=4096, in_flight_max=2), 60)
        assert len(ended) == len(between.bulks()) - 1 <= 2


def test_an_answer_that_counts_other_items_is_not_taken_for_success() -> None:
    said = b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}'
    assert all_created(said, 2)
    assert not all_created(said, 3) and not all_created(said, 1)
    assert not all_created(said.replace(b"false", b"true"), 2)
    assert not all_created(said.replace(b"201", b"200", 1), 2)


@pytest.mark.parametrize("status", [401, 403])
def test_a_lost_permission_after_the_start_is_the_stores_fault(status: int) -> None:
    with Between(Double(lambda ids: failure(status, "security_exception", "denied"))) as between:
        with pytest.raises(SearchUnavailableError, match=str(status)) as caught:
            write(writer(between, api_key=SECRET), 1)
        assert not isinstance(caught.value, SearchConfigError)
    assert SECRET not in str(caught.value)


def answering(reply: Reply) -> Rule:
    return lambda request: reply


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (answering(failure(401, "security_exception", "unable to authenticate")), "password or API key"),
        (answering(failure(403, "security_exception", "unauthorized")), "privileges"),
        (answering(greeting("2.11.0", distribution="opensearch")), "OpenSearch"),
        (answering(greeting("8.11.4")), "too old"),
        (
            answering(Reply(200, b'{"version":{"number":"9.0.0"}}', {"content-type": "application/json"})),
            "no Elasticsearch",
        ),
    ],
)
def test_what_the_operator_must_mend_is_told_at_the_start_in_a_sentence(rule: Rule, words: str) -> None:
    with Between(rule) as between:
        secured = ElasticSettings((between.url,), username="elastic", password=SECRET)
        found = ElasticWriter(secured)
        for check in (found.check, ElasticReader(secured).check):
            with pytest.raises(SearchConfigError, match=words) as caught:
                check()
            assert SECRET not in str(caught.value) and SECRET not in repr(secured)
            assert str(caught.value).count("\n") == 0
        found.close()


def test_templates_that_may_not_be_installed_are_told_at_the_start() -> None:
    def rule(request: Request) -> Reply:
        if "_simulate_index" in request.path:
            return as_json({"template": {"settings": {}, "mappings": {}}})
        if request.method == "PUT":
            return failure(403, "security_exception", "unauthorized")
        return Double(lambda ids: LOST)(request)

    with Between(rule) as between:
        found = writer(between)
        with pytest.raises(SearchConfigError, match="manage_index_templates"):
            found.check()
        with pytest.raises(SearchUnavailableError, match="manage_index_templates"):
            found.write([Batch([log(0)], False)])
        found.close()


def test_a_template_that_stays_another_one_is_told_at_the_start() -> None:
    def rule(request: Request) -> Reply:
        if "_simulate_index" in request.path:
            return as_json({"template": {"settings": {}, "mappings": {"properties": {"@timestamp": {"type": "date"}}}}})
        return as_json({"acknowledged": True}) if request.method == "PUT" else Double(lambda ids: LOST)(request)

    with Between(rule) as between:
        found = writer(between)
        with pytest.raises(SearchConfigError, match="higher priority"):
            found.check()
        found.close()


def test_nobody_there_is_the_stores_fault_at_the_start_too() -> None:
    with Between(answering(LOST)) as between:
        url = between.url
    found = ElasticWriter(ElasticSettings((url,)))
    with pytest.raises(SearchUnavailableError, match="cannot be reached"):
        found.check()
    found.close()


def test_an_answer_larger_than_the_limit_is_not_read_to_its_end() -> None:
    body = json.dumps({"hits": {"hits": [], "total": {"value": 0}}, "x": "y" * (4 * 1024 * 1024)}).encode()
    with Between(answering(Reply(200, body))) as between:
        reader = ElasticReader(ElasticSettings((between.url,), answer_bytes_max=1024 * 1024))
        with pytest.raises(SearchUnavailableError, match="larger than 1048576 bytes"):
            reader.logs(LogSearch(limit=100))
        sizes = [json.loads(request.body)["size"] for request in between.seen]
    assert sizes == [101, 25, 6, 1]


def test_an_answer_that_does_not_come_in_time_is_the_stores_fault() -> None:
    release = threading.Event()

    def rule(request: Request) -> Reply:
        release.wait(30)
        return LOST

    with Between(rule) as between:
        reader = ElasticReader(ElasticSettings((between.url,), request_timeout_s=0.2))
        with pytest.raises(SearchUnavailableError, match="in time"):
            reader.logs(LogSearch())
        release.set()


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_reader_says_what_the_server_says(status: int) -> None:
    failing = answering(failure(status, "some_exception", "the reason"))
    with Between(failing) as between, pytest.raises(SearchUnavailableError, match="the reason"):
        ElasticReader(ElasticSettings((between.url,))).logs(LogSearch())


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def served(authority: trustme.CA, until: datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    start = datetime(2000, 1, 1, tzinfo=UTC) if until else None
    authority.issue_cert("127.0.0.1", not_before=start, not_after=until).configure_cert(context)
    return context


def test_an_encrypted_connection_to_a_server_of_a_known_authority(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    rule = Double(lambda ids: items(CREATED))
    with Between(rule, tls=served(authority)) as between:
        assert write(writer(between, tls=Tls(ca_file=tmp_path / "ca.pem")), 1).created == 1
        assert write(writer(between, tls=Tls(verify=False)), 1).created == 1


@pytest.mark.parametrize(("known", "until", "words"), [
    (False, None, "authority that signed it"),
    (True, datetime(2001, 1, 1, tzinfo=UTC), "expired"),
])  # fmt: skip
def test_a_certificate_that_is_not_accepted(
    authority: trustme.CA, tmp_path: Path, known: bool, until: datetime | None, words: str
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Between(answering(greeting()), tls=served(authority, until)) as between:
        found = writer(between, tls=Tls(ca_file=tmp_path / "ca.pem") if known else None)
        with pytest.raises(SearchConfigError, match=words):
            found.check()
        with pytest.raises(SearchUnavailableError, match=words):
            found.write([Batch([log(0)], False)])
        found.close()
    gc.collect()


def test_a_certificate_file_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    of_none = ElasticSettings(("https://127.0.0.1:9200",), tls=Tls(ca_file=tmp_path / "none.pem"))
    with pytest.raises(SearchConfigError, match="certificate file"):
        ElasticWriter(of_none)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"urls": ()}, "at least one URL"),
        ({"urls": (f"http://me:{SECRET}@h:9200",)}, "not in the URL"),
        ({"urls": ("h:9200",)}, "no URL"),
        ({"urls": ("ftp://h",)}, "no URL"),
        ({"urls": ("http://h:port",)}, "cannot be read"),
        ({"username": "me"}, "together"),
        ({"username": "me", "password": SECRET, "api_key": SECRET}, "not both"),
        ({"dataset": "A-b"}, "dataset"),
        ({"retention_days": 0}, "Retention"),
    ],
)
def test_settings_that_cannot_be_meant(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        ElasticSettings(**{"urls": ("http://h",)} | changed)
    assert SECRET not in str(caught.value)
