"""What only the real server can show: its limits, its death, what Kibana asks of it, and who else writes to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from search.elastic_balances import balances_of
from search.elastic_client import ElasticClient
from search.elastic_items import all_created
from search.elastic_page import StreamSearch
from search.elastic_reader import ElasticReader
from search.elastic_settings import ElasticSettings
from search.elastic_templates import Templates
from search.elastic_writer import ElasticWriter
from search.port import (
    Batch,
    Document,
    DocumentFaultError,
    DocumentReader,
    LogSearch,
    SearchUnavailableError,
    TraceSearch,
)
from tests.contracts.documents import NOW_NS, log, of_service, span, trace_id
from tests.search.elastic_between import Between, Request
from tests.search.elastic_dataset import Dataset
from tests.servers.elasticsearch import CONTENT_BYTES_MAX, start_elasticsearch
from tests.servers.elasticsearch import Elasticsearch as Running


@pytest.fixture
def dataset() -> Iterator[Dataset]:
    with Dataset() as found:
        yield found


@pytest.fixture
def kibana(dataset: Dataset) -> Iterator[Elasticsearch]:
    """The vendor's own client, which asks as Kibana does."""
    client = Elasticsearch(dataset.url, request_timeout=30)
    yield client
    client.close()


def contents(reader: DocumentReader, count: int) -> list[Document]:
    return list(reader.documents("default", "logs", NOW_NS, NOW_NS + count))


def test_check_passes_and_installs_the_templates(dataset: Dataset) -> None:
    dataset.writer().check()
    dataset.reader().check()
    names = dataset.client.ask("GET", f"/_index_template/heliograph-*-{dataset.name}").body["index_templates"]
    assert {n["name"] for n in names} == {f"heliograph-logs-{dataset.name}", f"heliograph-traces-{dataset.name}"}


def test_a_bulk_of_new_documents_is_known_to_be_whole_without_taking_its_answer_apart(dataset: Dataset) -> None:
    with Between(Request.forward, dataset.url) as between:
        writer = dataset.writer(urls=(between.url,))
        writer.write([Batch([log(i) for i in range(3)], False)])
        (bulk,) = between.bulks()
    answer = dataset.client.post_lines(bulk.path, bulk.body.replace(b'"_id":"', b'"_id":"b'))
    assert all_created(answer.data, 3), answer.data


def test_templates_are_put_only_when_they_differ(dataset: Dataset) -> None:
    dataset.writer().check()
    logged: list[str] = []

    class Watching:
        def ask(self, method: str, path: str, body: object = None, wanted: tuple[int, ...] = (200,)) -> Any:
            logged.append(method)
            return dataset.client.ask(method, path, body, wanted)

        post_lines = dataset.client.post_lines

    Templates(Watching(), dataset.settings()).ensure()
    assert "PUT" not in logged
    Templates(Watching(), dataset.settings(retention_days=30)).ensure()
    assert "PUT" in logged


def test_what_elasticsearch_refuses_is_the_documents_fault_and_the_rest_is_stored(dataset: Dataset) -> None:
    good = [log(i) for i in range(4)]
    bad = [log(10, time_ns=-1), log(11, trace_id={"no": "text"}), log(12, body={"text": "x" * (CONTENT_BYTES_MAX + 1)})]
    with pytest.raises(DocumentFaultError) as caught:
        dataset.writer().write([Batch([good[0], bad[0], good[1], bad[1], bad[2], *good[2:]], False)])
    assert [(f.position, f.reason) for f in caught.value.faults] == [(1, "mapping"), (3, "mapping"), (4, "oversize")]
    assert caught.value.written.created == 4
    assert contents(dataset.reader(), 20) == good


def test_attributes_never_lose_a_document_nor_add_a_field(dataset: Dataset) -> None:
    awkward: list[dict[str, Any]] = [
        {"nul\0in key": "v", "plain": "1"},
        {"k" * 40_000: "v", "plain": "2"},
        {"long": "ü" * 20_000, "plain": "3"},
        {"long": "\U0001f600" * 8_191, "k" * 8_000: "\u4e00" * 8_191, "plain": "4"},
        {"a": "1", "a.b": 2, "a.b.c": True, "plain": "5"},
        {"a.": 1.5, ".a": -0.0, "..": 1e300, "plain": "6", " ": "blank", "*": "star"},
        {f"key{i}": i for i in range(3_000)} | {"plain": "7"},
        {"@timestamp": "no time", "heliograph": "x", "message": "m", "plain": "8"},
    ]
    documents = [log(i, attributes=a, resource=of_service("shop", **a)) for i, a in enumerate(awkward)]
    documents.append(log(8, heliograph={"mine": 1}, attributes={"plain": "9"}))
    writer = dataset.writer()
    assert writer.write([Batch(documents, False)]).created == 9
    reader = dataset.reader()
    assert contents(reader, 9) == documents
    for i, document in enumerate(documents):
        assert list(reader.logs(LogSearch(text=f"attributes.plain:{i + 1}")).documents) == [document]
    assert reader.logs(LogSearch(text=f"attributes.long:{'ü' * 4000}")).total == 0
    found = dataset.client.ask("GET", f"/{dataset.stream()}/_mapping").body
    (mapping,) = (index["mappings"]["properties"] for index in found.values())
    assert mapping["attributes"] == {"type": "flattened", "ignore_above": 8191}
    assert "key1" not in str(mapping)


def test_words_are_as_the_server_can_cut_them(dataset: Dataset) -> None:
    document = log(0, body={"text": "failed at com.foo.Bar for 10.0.0.7"})
    dataset.writer().write([Batch([document], False)])
    reader = dataset.reader()
    tokenizer = {"tokenizer": {"type": "char_group", "tokenize_on_chars": ["punctuation"]}, "text": "a"}
    has_words = dataset.client.ask("POST", "/_analyze", tokenizer, wanted=(200, 400)).status == 200
    for text in ("com.foo.Bar", "COM.FOO.BAR", "10.0.0.7", '"at com.foo.Bar for"'):
        assert reader.logs(LogSearch(text=text)).total == 1, text
    for text in ("Bar", "foo.bar", "0.7"):
        assert reader.logs(LogSearch(text=text)).total == int(has_words), text


def test_a_long_attribute_is_found_by_its_whole_value(dataset: Dataset) -> None:
    value = "v" * 9_000
    documents = [span(0, 0, attributes={"long": value}), span(1, 1, attributes={"long": value + "w"})]
    dataset.writer().write([Batch(documents, False)])
    found = dataset.reader().traces(TraceSearch(attributes={"long": value}))
    assert [list(t) for t in found] == [[documents[0]]]


def test_doubles_are_found_as_python_spells_them(dataset: Dataset) -> None:
    numbers = [1e16, 1.5e-7, 123456789.125, 1e300, -0.0, 5.0]
    documents = [log(i, attributes={"n": n}) for i, n in enumerate(numbers)]
    dataset.writer().write([Batch(documents, False)])
    for document, number in zip(documents, numbers, strict=True):
        page = dataset.reader().logs(LogSearch(text=f"attributes.n:{number}"))
        assert list(page.documents) == [document]


def test_another_document_under_the_same_id_is_kept_beside_it(dataset: Dataset) -> None:
    first = log(0, body={"text": "first"})
    other = Document(first.id, "logs", "default", first.time_ns, first.item_hash + 1, first.event_minute, log(0).source)
    writer = dataset.writer(attempts_max=1)
    writer.write([Batch([first], False)])
    assert writer.write([Batch([other], False), Batch([first], True)]).created == 1
    assert writer.clashes == 1
    assert writer.write([Batch([other, first], True)]).created == 0
    dataset.roll_over()
    assert writer.write([Batch([other, first], True)]).created == 0
    found = contents(dataset.reader(), 1)
    assert [d.id for d in found] == [first.id, f"{first.id}-{other.item_hash:08x}"]
    assert [d.item_hash for d in found] == [first.item_hash, other.item_hash]


def test_a_template_that_was_removed_never_lets_a_plain_index_be_made(dataset: Dataset) -> None:
    writer = dataset.writer()
    writer.check()
    dataset.client.ask("DELETE", f"/_index_template/heliograph-logs-{dataset.name}")
    with pytest.raises(SearchUnavailableError, match="no matching index template with data stream"):
        writer.write([Batch([log(0)], False)])
    assert dataset.client.ask("GET", f"/_resolve/index/{dataset.stream()}", wanted=(200, 404)).status == 404
    assert writer.write([Batch([log(0)], True)]).created == 1


def test_documents_of_others_in_the_same_stream_are_left_alone(dataset: Dataset) -> None:
    dataset.writer().write([Batch([log(0)], False)])
    line = b'{"create":{}}\n{"@timestamp":"2024-10-04T12:00:00Z","body":{"text":"record of a collector"}}\n'
    assert dataset.client.post_lines(f"/{dataset.stream()}/_bulk?refresh=true", line).body["errors"] is False
    reader = dataset.reader()
    assert reader.logs(LogSearch(text="record")).total == 1
    assert [b.count for b in reader.balances("default", "logs", 0, 2**40)] == [1]


def test_pages_shrink_to_the_limit_of_an_answer_and_go_on(dataset: Dataset) -> None:
    documents = [log(i, body={"text": f"{i} " + "x" * 300_000}) for i in range(12)]
    dataset.writer().write([Batch(documents, False)])
    reader = dataset.reader(answer_bytes_max=1024 * 1024)
    found: list[Document] = []
    cursor = None
    while True:
        page = reader.logs(LogSearch(limit=12, cursor=cursor))
        assert page.total == 12
        found += page.documents
        cursor = page.next
        if cursor is None:
            break
        assert 1 <= len(page.documents) <= 3
    assert found == documents[::-1]
    assert list(reader.documents("default", "logs", NOW_NS, NOW_NS + 12)) == documents


def test_sums_stay_exact_where_doubles_would_not(dataset: Dataset) -> None:
    """With a small limit instead of two million documents in a minute."""
    documents = [
        Document(d.id, "logs", "default", NOW_NS, h, 5, d.source)
        for d, h in ((log(i), [2**32 - 1, 7, 0, 2**31][i % 4]) for i in range(40))
    ]
    dataset.writer().write([Batch(documents, False)])
    search = StreamSearch(dataset.client, "logs", dataset.name, "default")
    (balance,) = balances_of(search, "logs", [], exact_items_max=3)
    assert (balance.count, balance.hash_sum) == (40, sum(d.item_hash for d in documents))


def test_tenants_of_any_spelling_do_not_meet(dataset: Dataset) -> None:
    tenants = ["a-b", "a_b", "A-B", "a/b", "ü*?", "", "t" * 300, "t" * 301, "=2d"]
    documents = [log(i, tenant=tenant) for i, tenant in enumerate(tenants)]
    writer = dataset.writer()
    assert writer.write([Batch(documents, False)])
    for document in documents:
        assert list(dataset.reader().logs(LogSearch(tenant=document.tenant)).documents) == [document]
    for index in dataset.client.ask("GET", f"/_resolve/index/logs-{dataset.name}*").body["data_streams"]:
        dataset.client.ask("DELETE", f"/_data_stream/{index['name'].replace('%', '%25')}")


def test_what_kibana_asks(dataset: Dataset, kibana: Elasticsearch) -> None:
    minute_ns = 60_000_000_000
    resource = of_service("shop", **{"host.name": "h1", "k8s.pod.name": "p1", "zone": "eu"})
    documents = [
        log(
            i,
            NOW_NS + i * minute_ns,
            severity_text="ERROR" if i % 3 == 0 else "INFO",
            body={"text": f"payment {i} declined"},
            trace_id=trace_id(i),
            span_id=f"{i:016x}",
            attributes={"http.route": "/cart"},
            resource=resource,
        )
        for i in range(10)
    ]
    spans = [span(i, i, name=f"op {i % 2}", parent_span_id="00000000000000aa", duration=i * 1000) for i in range(4)]
    dataset.writer().write([Batch([*documents, *spans], False)])
    logs, both = dataset.stream(), f"*-{dataset.name}.otel-*"

    def hits(query: str) -> int:
        asked = {"query_string": {"query": query, "analyze_wildcard": True}}
        return int(kibana.search(index=both, query=asked, size=0)["hits"]["total"]["value"])

    for query, count in {
        "log.level:ERROR AND message:payment": 4,
        'message:"3 declined"': 1,
        f"trace.id:{trace_id(3)}": 2,
        "span.id:0000000000000003": 2,
        "parent.id:00000000000000aa": 4,
        "service.name:shop": 14,
        "host.name:h1 AND kubernetes.pod.name:p*": 10,
        "attributes.http.route:\\/cart": 10,
        "resource.attributes.zone:eu": 10,
        "span.name:op*": 4,
        "duration:>1000": 2,
        "severity_number:[9 TO *]": 10,
    }.items():
        assert hits(query) == count, query
    histogram = {"field": "@timestamp", "fixed_interval": "5m"}
    by_level = {"levels": {"terms": {"field": "log.level"}}}
    answer = kibana.search(index=logs, size=0, aggs={"h": {"date_histogram": histogram, "aggs": by_level}})
    buckets = answer["aggregations"]["h"]["buckets"]
    assert [b["doc_count"] for b in buckets] == [5, 5]
    assert [{x["key"]: x["doc_count"] for x in b["levels"]["buckets"]} for b in buckets] == [
        {"ERROR": 2, "INFO": 3}
    ] * 2
    by_service = kibana.search(index=both, size=0, aggs={"s": {"terms": {"field": "service.name"}}})
    assert [(b["key"], b["doc_count"]) for b in by_service["aggregations"]["s"]["buckets"]] == [("shop", 14)]
    fields = kibana.field_caps(index=both, fields="*")["fields"]
    for name in ("@timestamp", "message", "log.level", "trace.id", "span.id", "service.name", "host.name", "duration"):
        assert name in fields, name
    assert fields["@timestamp"]["date_nanos"]["aggregatable"]
    assert fields["log.level"]["keyword"]["aggregatable"]
    shown = kibana.search(index=logs, size=1, sort=[{"@timestamp": "desc"}], fields=[{"field": "message"}])
    assert shown["hits"]["hits"][0]["fields"]["message"] == ["payment 9 declined"]


@pytest.fixture(scope="module")
def own() -> Iterator[Running]:
    """A server to kill."""
    found = start_elasticsearch()
    yield found
    found.server.kill()


def test_a_server_killed_in_the_middle_of_writes_loses_and_doubles_nothing(own: Running) -> None:
    settings = ElasticSettings((own.url,), replicas=0, request_timeout_s=10.0, attempts_max=1)
    writer = ElasticWriter(settings)
    told: set[int] = set()
    failed = threading.Event()
    portions = iter(range(0, 1_000_000, 100))

    def keep_writing() -> None:
        for start in portions:
            try:
                writer.write([Batch([log(i) for i in range(start, start + 100)], False)])
            except SearchUnavailableError:
                failed.set()
                return
            told.update(range(start, start + 100))
            if len(told) >= 1000:
                enough.set()

    enough = threading.Event()
    thread = threading.Thread(target=keep_writing)
    thread.start()
    assert enough.wait(60)
    own.server.kill()
    thread.join(60)
    assert failed.is_set() and told
    own.server.start()
    tried = max(told) + 101
    reader = ElasticReader(settings)
    client = ElasticClient(settings)
    found = {d.id for d in contents(reader, tried)}
    assert {log(i).id for i in told} <= found
    again = [log(i) for i in range(tried)]
    written = writer.write([Batch(again, True)])
    assert written.created + written.duplicates == tried and written.duplicates >= len(told)
    assert contents(reader, tried) == again
    assert client.ask("POST", "/logs-generic.otel-default/_count").body["count"] == tried
    writer.close()
    client.close()
