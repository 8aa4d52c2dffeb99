"""The Elasticsearch store under the suite of its port, on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from search.port import DocumentReader, DocumentWriter
from tests.contracts.document_store_suite import DocumentStoreSuite, StorePair
from tests.search.elastic_dataset import Dataset


class ElasticPair:
    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def writer(self) -> DocumentWriter:
        return self._dataset.writer()

    def reader(self) -> DocumentReader:
        return self._dataset.reader()

    def write_until_killed(self, documents_per_write: int) -> int:
        return self._dataset.write_until_killed(documents_per_write)


@pytest.fixture
def store() -> Iterator[StorePair]:
    with Dataset() as dataset:
        yield ElasticPair(dataset)


class TestElasticStore(DocumentStoreSuite):
    pass
