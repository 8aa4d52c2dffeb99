"""How the documents of one write become bulk requests."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.elastic_items import Chunk
from search.elastic_load import Load
from search.encoded import EncodedDocuments
from search.port import Batch, Document, Stream
from tests.contracts.documents import NOW_NS, log, span


def encoded(batch: str, texts: Sequence[str]) -> EncodedDocuments:
    """A log batch; its bodies are the texts."""
    sources = [orjson.dumps({"@timestamp": "2024-10-04T12:00:00.000000000Z", "body": {"text": text}}) for text in texts]
    count = len(texts)
    return EncodedDocuments(
        "logs", "default", batch, range(count), [NOW_NS] * count, range(count), [5] * count, sources, {}
    )


def target(stream: Stream, tenant: str) -> str:
    return f"{stream}-{tenant}"


def found_in(chunks: Sequence[Chunk]) -> list[tuple[int, str]]:
    """Positions and ids, as the lines say them."""
    items = [item for chunk in chunks for item in chunk.items()]
    for item in items:
        assert orjson.loads(item.data.splitlines()[0])["create"]["_id"] == item.id
    return [(item.position, item.id) for item in items]


@given(st.lists(st.lists(st.text(max_size=40), max_size=6), max_size=5), st.integers(200, 900))
def test_every_document_is_in_one_chunk_within_the_limit(batches: list[list[str]], bytes_max: int) -> None:
    documents = [encoded(f"p-{number}", texts) for number, texts in enumerate(batches)]
    load = Load([Batch(each, False) for each in documents], target, bytes_max)
    chunks = list(load.chunks())
    assert list(load.repeated()) == []
    ids = [document.id for each in documents for document in each]
    assert found_in(chunks) == list(enumerate(ids))
    assert all(chunk.size_bytes == sum(map(len, chunk.data)) for chunk in chunks)
    assert all(chunk.size_bytes <= bytes_max or len(chunk.data) == 1 for chunk in chunks)


def test_each_data_stream_has_chunks_of_its_own() -> None:
    documents = [log(0), span(1, 1), log(2, tenant="acme"), log(3)]
    chunks = list(Load([Batch(documents, False)], target, 10_000).chunks())
    by_target = {chunk.target: [item.position for item in chunk.items()] for chunk in chunks}
    assert by_target == {"logs-default": [0, 3], "traces-default": [1], "logs-acme": [2]}


@pytest.mark.parametrize("kind", ["columns", "objects"])
def test_what_comes_twice_waits_for_the_first_and_may_have_been_written(kind: str) -> None:
    columns = encoded("p-0", ["a", "b"])
    documents: Sequence[Document] = columns if kind == "columns" else list(columns)
    load = Load([Batch(documents, False), Batch([log(0)], False), Batch(documents, False)], target, 10_000)
    first, second = list(load.chunks()), list(load.repeated())
    assert found_in(first) == [(0, "p-0-0"), (1, "p-0-1"), (2, log(0).id)]
    assert found_in(second) == [(3, "p-0-0"), (4, "p-0-1")]
    assert [chunk.maybe for chunk in (*first, *second)] == [False, True]


def test_a_document_that_comes_twice_in_its_batch_may_have_been_written() -> None:
    load = Load([Batch([log(0), log(1), log(0)], False)], target, 10_000)
    assert list(load.chunks()) == []
    (chunk,) = load.repeated()
    assert [(item.position, item.maybe) for item in chunk.items()] == [(0, True), (1, True), (2, True)]


def test_what_is_no_json_is_a_fault_and_the_rest_is_written() -> None:
    bad = log(16, attributes={"a": "\ud800"})
    load = Load([Batch([log(0)], False), Batch([bad, log(17)], True)], target, 10_000)
    chunks = list(load.chunks())
    assert [(fault.position, fault.reason) for fault in load.faults] == [(1, "encoding")]
    assert [(item.position, item.maybe) for chunk in chunks for item in chunk.items()] == [(0, False), (2, True)]
