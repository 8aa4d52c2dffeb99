"""Documents that may have been tried before are visible once, whatever rollover comes between. On a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from search.elastic_templates import backing_indices
from search.port import Batch, Document, LogSearch
from tests.contracts.documents import NOW_NS, log
from tests.search.elastic_between import LOST, Between, Reply, Request, as_json
from tests.search.elastic_dataset import Dataset

DOCUMENTS = [log(i) for i in range(20)]


@pytest.fixture
def dataset() -> Iterator[Dataset]:
    with Dataset() as found:
        yield found


def stored(dataset: Dataset) -> list[tuple[str, str]]:
    """(index, id) of all copies, found by looking into each backing index."""
    dataset.client.ask("POST", f"/{dataset.stream()}/_refresh")
    body = {"size": 1000, "_source": False, "query": {"match_all": {}}}
    hits = dataset.client.ask("POST", f"/{dataset.stream()}/_search", body).body["hits"]["hits"]
    return sorted((hit["_index"], hit["_id"]) for hit in hits)


def ids(documents: list[Document]) -> list[str]:
    return sorted(d.id for d in documents)


def test_a_replay_over_a_rollover_stores_nothing_twice(dataset: Dataset) -> None:
    writer = dataset.writer()
    writer.write([Batch(DOCUMENTS[:10], False)])
    dataset.roll_over()
    written = writer.write([Batch(DOCUMENTS, True)])
    assert (written.created, written.duplicates) == (10, 10)
    dataset.roll_over()
    written = dataset.writer().write([Batch(DOCUMENTS, True)])
    assert (written.created, written.duplicates) == (0, 20)
    assert sorted(id_ for _, id_ in stored(dataset)) == ids(DOCUMENTS)


def test_documents_never_tried_are_not_looked_up(dataset: Dataset) -> None:
    with Between(Request.forward, dataset.url) as between:
        writer = dataset.writer(urls=(between.url,))
        writer.write([Batch(DOCUMENTS[:10], False)])
        dataset.roll_over()
        between.seen.clear()
        writer.write([Batch(DOCUMENTS[10:], False)])
    assert [r.path.split("?")[0].rsplit("/", 1)[1] for r in between.seen] == ["_bulk", "_refresh"]


def test_a_rollover_between_an_attempt_and_its_retry(dataset: Dataset) -> None:
    dataset.writer().write([Batch([log(100)], False)])

    def rule(request: Request) -> Reply:
        reply = request.forward()
        if request.is_bulk and len(between.bulks()) == 1:
            dataset.roll_over()
            return LOST
        return reply

    with Between(rule, dataset.url) as between:
        written = dataset.writer(urls=(between.url,)).write([Batch(DOCUMENTS, False)])
    assert (written.created, written.duplicates) == (0, 20)
    assert len(stored(dataset)) == 21
    assert len({index for index, _ in stored(dataset)}) == 1


def test_an_attempt_that_is_carried_out_only_after_its_ids_were_looked_up(dataset: Dataset) -> None:
    """The first bulk is still under way to the old index when the retry looks there: the later copies go."""
    dataset.writer().write([Batch([log(100)], False)])
    (old,) = backing_indices(dataset.client, dataset.stream())
    lookups: list[Request] = []

    def rule(request: Request) -> Reply:
        if "/_mget" in request.path:
            lookups.append(request)
            if len(lookups) == 1:
                docs = json.loads(request.body)["docs"]
                return as_json({"docs": [{**doc, "found": False} for doc in docs]})
        reply = request.forward()
        if request.is_bulk and len(between.bulks()) == 1:
            dataset.roll_over()
            return LOST
        return reply

    with Between(rule, dataset.url) as between:
        written = dataset.writer(urls=(between.url,)).write([Batch(DOCUMENTS, False)])
    assert len(lookups) == 2
    assert (written.created, written.duplicates) == (0, 20)
    assert sorted(id_ for _, id_ in stored(dataset)) == sorted([*ids(DOCUMENTS), log(100).id])
    assert {index for index, _ in stored(dataset)} == {old}


def test_what_was_written_before_a_rollover_by_a_writer_that_gave_up(dataset: Dataset) -> None:
    """Every answer of the first writer is lost; after a rollover another one brings the same documents."""
    dataset.writer().write([Batch([log(100)], False)])

    def rule(request: Request) -> Reply:
        reply = request.forward()
        return LOST if request.is_bulk else reply

    with (
        Between(rule, dataset.url) as between,
        pytest.raises(Exception, match="did not take 20 documents in 2 attempts"),
    ):
        dataset.writer(urls=(between.url,), attempts_max=2).write([Batch(DOCUMENTS, False)])
    dataset.roll_over()
    written = dataset.writer().write([Batch(DOCUMENTS, True)])
    assert (written.created, written.duplicates) == (0, 20)


def test_a_reader_sees_each_document_once_while_there_are_two(dataset: Dataset) -> None:
    writer = dataset.writer()
    writer.write([Batch(DOCUMENTS, False)])
    dataset.roll_over()
    # The caller says that they were never tried, so nothing is looked up.
    writer.write([Batch(DOCUMENTS, False)])
    assert len(stored(dataset)) == 40
    reader = dataset.reader()
    assert reader.documents("default", "logs", NOW_NS, NOW_NS + 20) == DOCUMENTS
    found: list[Document] = []
    cursor: str | None = None
    while True:
        page = reader.logs(LogSearch(limit=3, cursor=cursor))
        found += page.documents
        cursor = page.next
        if cursor is None:
            break
    assert found == DOCUMENTS[::-1]


def test_two_writers_bring_the_same_documents_during_a_rollover(dataset: Dataset) -> None:
    dataset.writer().write([Batch([log(100)], False)])
    gate = threading.Barrier(2, timeout=30)
    totals: list[Any] = []

    def bring() -> None:
        writer = dataset.writer()
        writer.check()
        gate.wait()
        totals.append(writer.write([Batch(DOCUMENTS, True)]))

    threads = [threading.Thread(target=bring) for _ in range(2)]
    for thread in threads:
        thread.start()
    dataset.roll_over()
    for thread in threads:
        thread.join()
    assert len(totals) == 2
    assert sorted(id_ for _, id_ in stored(dataset)) == sorted([*ids(DOCUMENTS), log(100).id])


def test_an_index_made_from_an_older_template_is_rolled_over(dataset: Dataset) -> None:
    writer = dataset.writer()
    writer.write([Batch(DOCUMENTS[:1], False)])
    (first,) = backing_indices(dataset.client, dataset.stream())
    dataset.client.ask("PUT", f"/{first}/_settings", {"index.translog.durability": "async"})
    later = dataset.writer()
    later.write([Batch(DOCUMENTS[1:2], False)])
    indices = backing_indices(dataset.client, dataset.stream())
    assert len(indices) == 2 and indices[0] == first
    assert [index for index, id_ in stored(dataset) if id_ == DOCUMENTS[1].id] == [indices[1]]
