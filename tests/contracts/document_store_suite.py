"""What every document store must do. An adapter's tests subclass the suite and give the `store` fixture."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import pytest

from search.port import (
    Batch,
    Document,
    DocumentReader,
    DocumentWriter,
    LogSearch,
    QuerySyntaxError,
    TraceSearch,
)
from tests.contracts.documents import DAY_NS, NOW_NS, log, of_service, span, trace_id


class StorePair(Protocol):
    """One store that tests may fill; each test gets its own."""

    def writer(self) -> DocumentWriter:
        """A writer; the one before is closed, or dead. The adapter closes it."""
        ...

    def reader(self) -> DocumentReader:
        """A further reader, without anything that another one remembers."""
        ...

    def write_until_killed(self, documents_per_write: int) -> int:
        """Another process writes log(0), log(1), … in such portions, and is killed (SIGKILL) in the middle of one. Returns how
        many documents it had been told were written.
        """
        ...


def write(writer: DocumentWriter, documents: Sequence[Document], maybe: bool = False) -> tuple[int, int]:
    written = writer.write([Batch(documents, maybe)])
    return written.created, written.duplicates


def pages(reader: DocumentReader, search: dict[str, Any]) -> list[Document]:
    """All pages of a search, each with the same total."""
    found: list[Document] = []
    cursor: str | None = None
    totals = set()
    while True:
        page = reader.logs(LogSearch(**search, cursor=cursor))
        assert len(page.documents) <= search.get("limit", 100)
        found += page.documents
        totals.add(page.total)
        cursor = page.next
        if cursor is None:
            break
        assert page.documents
    assert totals == {len(found)}
    return found


def newest_first(documents: Iterable[Document]) -> list[Document]:
    return sorted(documents, key=lambda d: (d.time_ns, d.id), reverse=True)


class DocumentStoreSuite:
    """Give a `store` fixture; see StorePair."""

    def test_what_is_written_comes_back_by_id_and_value(self, store: StorePair) -> None:
        documents = [log(i) for i in range(5)]
        assert write(store.writer(), documents) == (5, 0)
        assert store.reader().documents("default", "logs", NOW_NS, NOW_NS + 5) == documents

    def test_an_empty_store_answers_with_nothing(self, store: StorePair) -> None:
        reader = store.reader()
        assert reader.logs(LogSearch()).total == 0
        assert reader.trace("default", trace_id(1)) == []
        assert list(reader.traces(TraceSearch())) == []
        assert list(reader.services("default")) == []
        assert list(reader.operations("default", "shop")) == []
        assert list(reader.balances("default", "logs", 0, 2**31)) == []

    def test_writing_nothing_is_no_fault(self, store: StorePair) -> None:
        assert write(store.writer(), []) == (0, 0)

    def test_a_reader_sees_each_write_when_it_returns(self, store: StorePair) -> None:
        writer, reader = store.writer(), store.reader()
        for i in range(12):
            write(writer, [log(i)])
            assert reader.logs(LogSearch()).total == i + 1

    def test_every_value_of_json_survives(self, store: StorePair) -> None:
        attributes = {
            "text": 'ünï ✓ 漢字 \U0001f600 \x00 \x1b[31m "quoted" \\ \r\n',
            "": "empty key",
            "dotted.key": "2026-01-01T00:00:00Z",
            "long": 2**63 - 1,
            "least": -(2**63),
            "double": 0.1,
            "true": True,
            "empty": "",
        }
        document = log(0, attributes=attributes, body={"text": attributes["text"]})
        write(store.writer(), [document])
        assert store.reader().logs(LogSearch()).documents == [document]

    def test_a_huge_body_comes_back_whole_and_is_found(self, store: StorePair) -> None:
        document = log(0, body={"text": "lorem ipsum " * 66_000 + "needle"}, attributes={"long": "x" * 70_000})
        unbroken = log(1, body={"text": "x" * 800_000})
        write(store.writer(), [document, unbroken])
        reader = store.reader()
        assert reader.logs(LogSearch(text="needle")).documents == [document]
        assert reader.logs(LogSearch(limit=1)).documents == [unbroken]

    @pytest.mark.parametrize("time_ns", [0, 1, 999_999_999, DAY_NS - 1, DAY_NS, 4_102_444_800_000_000_001, 2**63 - 1])
    def test_times_are_exact_from_the_epoch_to_the_end_of_64_bits(self, store: StorePair, time_ns: int) -> None:
        document = log(0, time_ns)
        write(store.writer(), [document])
        reader = store.reader()
        assert reader.documents("default", "logs", time_ns, time_ns + 1) == [document]
        assert reader.documents("default", "logs", time_ns + 1, time_ns + 2) == []
        assert reader.logs(LogSearch(start_ns=time_ns, end_ns=time_ns + 1)).documents == [document]
        assert reader.logs(LogSearch(end_ns=time_ns)).total == 0

    def test_pages_have_no_gap_and_no_repeat(self, store: StorePair) -> None:
        writer = store.writer()
        random_ = random.Random(7)
        documents = [log(i, NOW_NS + random_.randrange(-2 * DAY_NS, 2 * DAY_NS, DAY_NS // 4)) for i in range(120)]
        for at in range(0, 120, 30):
            write(writer, documents[at : at + 30])
        for limit in (1, 7, 30, 120, 121):
            assert pages(store.reader(), {"limit": limit}) == newest_first(documents)

    def test_equal_times_are_paged_by_descending_id(self, store: StorePair) -> None:
        documents = [log(i, NOW_NS) for i in range(50)]
        writer = store.writer()
        write(writer, documents[25:])
        write(writer, documents[:25])
        for limit in (1, 7, 49, 50):
            assert pages(store.reader(), {"limit": limit}) == newest_first(documents)

    def test_what_is_written_between_two_pages_moves_nothing(self, store: StorePair) -> None:
        writer, reader = store.writer(), store.reader()
        documents = [log(i) for i in range(10)]
        write(writer, documents)
        first = reader.logs(LogSearch(limit=4))
        write(writer, [log(11)])
        second = reader.logs(LogSearch(limit=10, cursor=first.next))
        assert [*first.documents, *second.documents] == newest_first(documents)
        assert second.next is None

    def test_maybe_written_documents_are_visible_once(self, store: StorePair) -> None:
        writer = store.writer()
        documents = [log(i, NOW_NS + (i % 3) * DAY_NS) for i in range(30)]
        write(writer, documents[:20])
        assert write(writer, documents, maybe=True) == (10, 20)
        assert write(writer, documents, maybe=True) == (0, 30)
        assert pages(store.reader(), {}) == newest_first(documents)

    def test_a_duplicate_is_recognised_after_the_writer_was_opened_anew(self, store: StorePair) -> None:
        writer = store.writer()
        write(writer, [log(0)])
        writer.close()
        assert write(store.writer(), [log(0), log(1)], maybe=True) == (1, 1)
        assert store.reader().logs(LogSearch()).total == 2

    def test_two_attempts_in_one_write_are_visible_once(self, store: StorePair) -> None:
        written = store.writer().write([Batch([log(0), log(1)], False), Batch([log(0)], True)])
        assert (written.created, written.duplicates) == (2, 1)
        assert store.reader().logs(LogSearch()).total == 2

    def test_a_killed_writer_loses_nothing_that_it_was_told(self, store: StorePair) -> None:
        told = store.write_until_killed(50)
        assert told > 0
        tried = told + 50
        found = {d.id: d for d in store.reader().documents("default", "logs", NOW_NS, NOW_NS + tried)}
        assert {d.id for d in (log(i) for i in range(told))} <= found.keys()
        again = [log(i) for i in range(tried)]
        write(store.writer(), again, maybe=True)
        assert store.reader().documents("default", "logs", NOW_NS, NOW_NS + tried) == again

    def test_close_twice_is_no_fault(self, store: StorePair) -> None:
        writer = store.writer()
        write(writer, [log(0)])
        writer.close()
        writer.close()

    def test_tenants_do_not_see_each_other(self, store: StorePair) -> None:
        writer = store.writer()
        mine, theirs = log(0), log(1, tenant="other")
        write(writer, [mine, theirs, span(2, 1), span(3, 1, tenant="other", resource=of_service("secret"))])
        reader = store.reader()
        assert reader.logs(LogSearch()).documents == [mine]
        assert reader.logs(LogSearch(tenant="other")).documents == [theirs]
        assert [d.tenant for d in reader.trace("default", trace_id(1))] == ["default"]
        assert reader.services("default") == ["shop"]
        assert [b.count for b in reader.balances("default", "logs", 0, 2**31)] == [1]

    def test_conditions_of_a_log_search_hold_together(self, store: StorePair) -> None:
        documents = [
            log(0, severity_number=17),
            log(1, severity_number=17, resource=of_service("cart")),
            log(2, severity_number=16),
            log(3, severity_number=24),
            log(4, severity_number=0),
        ]
        write(store.writer(), documents)
        reader = store.reader()
        assert reader.logs(LogSearch(service="shop", severity="error")).documents == [documents[3], documents[0]]
        assert reader.logs(LogSearch(service="shop", severity="ERROR", end_ns=NOW_NS + 3)).documents == [documents[0]]
        assert reader.logs(LogSearch(service="sho")).total == 0
        with pytest.raises(QuerySyntaxError):
            reader.logs(LogSearch(severity="loud"))

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("", {0, 1, 2}),
            ("timeout", {0, 1}),
            ("TIMEOUT upstream", {0, 1}),
            ("timeout payments", {1}),
            ('"timeout upstream"', {1}),
            ("10.0.0.7", {0}),
            ("orders/1234", {0}),
            ("naïve", {2}),
            ("漢字", {2}),
            (f"trace_id:{trace_id(1)}", {0}),
            (f"trace_id:{trace_id(1).upper()}", {0}),
            ("span_id:00000000000000ff", {0}),
            ("service:cart", {2}),
            ("severity:warn", {1, 2}),
            ("severity:fatal", set()),
            ("attributes.http.method:GET", {0}),
            ("attributes.http.method:get", set()),
            ('attributes.path:"/a b"', {0}),
            ("attributes.code:500", {1}),
            ("attributes.ok:false", {1}),
            ("attributes.ratio:0.5", {1}),
            ("resource.host.name:h1 timeout", {0}),
            ("resource.service.name:cart", {2}),
            ("attributes.missing:1", set()),
            ("timeout attributes.code:500 severity:error", {1}),
        ],
    )
    def test_text_finds_words_phrases_and_fields(self, store: StorePair, text: str, found: set[int]) -> None:
        documents = [
            log(
                0,
                body={"text": "upstream 10.0.0.7: Timeout of GET /orders/1234"},
                trace_id=trace_id(1),
                span_id="00000000000000ff",
                attributes={"http.method": "GET", "path": "/a b"},
                resource=of_service("shop", **{"host.name": "h1"}),
            ),
            log(
                1,
                body={"text": "payments: timeout upstream"},
                severity_number=17,
                attributes={"code": 500, "ok": False, "ratio": 0.5},
            ),
            log(2, body={"text": "Naïve 漢字"}, severity_number=13, resource=of_service("cart")),
        ]
        write(store.writer(), documents)
        assert {documents.index(d) for d in store.reader().logs(LogSearch(text=text)).documents} == found

    @pytest.mark.parametrize(
        "text",
        [
            '"open',
            'a"b"',
            "colour:red",
            "severity:",
            "severity:loud",
            "trace_id:xyz",
            "span_id:12",
            '""',
            "---",
            "x" * 5000,
        ],
    )
    def test_rubbish_is_the_callers_fault(self, store: StorePair, text: str) -> None:
        write(store.writer(), [log(0)])
        with pytest.raises(QuerySyntaxError):
            store.reader().logs(LogSearch(text=text))

    @pytest.mark.parametrize("cursor", ["", "x", "1", "1_", "99999999999999999999_a-0-0", "1_a b", '1_a"'])
    def test_a_forged_cursor_is_the_callers_fault(self, store: StorePair, cursor: str) -> None:
        write(store.writer(), [log(0)])
        with pytest.raises(QuerySyntaxError):
            store.reader().logs(LogSearch(cursor=cursor))

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_limit_out_of_bounds_is_the_callers_fault(self, store: StorePair, limit: int) -> None:
        with pytest.raises(QuerySyntaxError):
            store.reader().logs(LogSearch(limit=limit))

    def test_a_trace_comes_whole_by_start_time(self, store: StorePair) -> None:
        spans = [span(i, i % 2, NOW_NS + DAY_NS // 2 - 10 + (i * 7) % 20) for i in range(20)]
        write(store.writer(), spans)
        whole = sorted((s for s in spans if s.source["trace_id"] == trace_id(1)), key=lambda s: (s.time_ns, s.id))
        assert store.reader().trace("default", trace_id(1)) == whole
        assert store.reader().trace("default", trace_id(1).upper()) == whole
        assert store.reader().trace("default", trace_id(2)) == []

    def test_traces_come_newest_first_and_whole(self, store: StorePair) -> None:
        spans = [span(i, i // 10, NOW_NS - (i // 10) * (DAY_NS // 3) + i % 10) for i in range(100)]
        write(store.writer(), spans)
        reader = store.reader()
        assert [list(t) for t in reader.traces(TraceSearch(limit=4))] == [spans[i : i + 10] for i in (0, 10, 20, 30)]
        assert len(reader.traces(TraceSearch())) == 10

    def test_a_trace_is_found_by_one_span_that_fulfils_all(self, store: StorePair) -> None:
        spans = [
            span(0, 0, name="GET /a", duration=10, attributes={"code": 500}),
            span(1, 0, resource=of_service("db"), name="SELECT", duration=5),
            span(2, 1, name="GET /b", duration=20, attributes={"code": 200}, resource=of_service("shop", zone="eu")),
            span(3, 2, resource=of_service("db"), name="GET /a", duration=10),
        ]
        write(store.writer(), spans)
        reader = store.reader()

        def found(**search: Any) -> list[str]:
            return [str(t[0].source["trace_id"])[-1] for t in reader.traces(TraceSearch(**search))]

        assert found(service="shop") == ["2", "1"]
        assert found(service="db") == ["3", "1"]
        assert found(service="shop", operation="GET /a") == ["1"]
        assert found(service="db", operation="GET /b") == []
        assert found(attributes={"code": "500"}) == ["1"]
        assert found(attributes={"zone": "eu", "code": "200"}) == ["2"]
        assert found(attributes={"zone": "us"}) == []
        assert found(duration_min_ns=10, duration_max_ns=10) == ["3", "1"]
        assert found(duration_min_ns=11) == ["2"]
        assert found(start_ns=NOW_NS + 2, end_ns=NOW_NS + 3) == ["2"]
        assert found(limit=1) == ["3"]

    def test_services_and_operations_are_those_of_spans(self, store: StorePair) -> None:
        writer, reader = store.writer(), store.reader()
        write(writer, [log(0, resource=of_service("logs only")), span(1, 0, name="b"), span(2, 0, name="a")])
        assert reader.services("default") == ["shop"]
        assert reader.operations("default", "shop") == ["a", "b"]
        write(writer, [span(3, 1, NOW_NS - 2 * DAY_NS, name="ü", resource=of_service("cart")), span(4, 1, name="c")])
        assert reader.services("default") == ["cart", "shop"]
        assert reader.operations("default", "shop") == ["a", "b", "c"]
        assert reader.operations("default", "cart") == ["ü"]
        assert reader.operations("default", "none") == []

    def test_a_record_without_a_service_belongs_to_the_unknown_one(self, store: StorePair) -> None:
        write(store.writer(), [log(0, resource={"attributes": {}}), span(1, 0, resource={"attributes": {}})])
        reader = store.reader()
        assert reader.services("default") == ["unknown_service"]
        assert reader.logs(LogSearch(service="unknown_service")).total == 1

    def test_balances_equal_the_sums_of_what_was_written(self, store: StorePair) -> None:
        writer = store.writer()
        random_ = random.Random(3)
        documents = [
            log(i, NOW_NS + random_.randrange(DAY_NS), resource=of_service(random_.choice("abc"))) for i in range(300)
        ]
        write(writer, documents[:200])
        write(writer, documents[100:], maybe=True)
        expected: dict[tuple[str, int], tuple[int, int]] = {}
        for d in documents:
            key = (d.source["resource"]["attributes"]["service.name"], d.event_minute)
            count, total = expected.get(key, (0, 0))
            expected[key] = (count + 1, total + d.item_hash)
        found = store.reader().balances("default", "logs", 0, 2**31)
        assert {(b.service, b.minute): (b.count, b.hash_sum) for b in found} == expected
        assert {b.stream for b in found} == {"logs"}
        middle = NOW_NS // 60_000_000_000 + 300
        some = store.reader().balances("default", "logs", middle, middle + 60)
        assert {(b.service, b.minute) for b in some} == {k for k in expected if middle <= k[1] < middle + 60}
