"""The Tantivy store under the suite of its port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.port import DocumentReader, DocumentWriter
from search.tantivy_reader import TantivyReader
from search.tantivy_writer import TantivyWriter
from tests.contracts.document_store_suite import DocumentStoreSuite, StorePair


class TantivyPair:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._writers: list[DocumentWriter] = []

    def writer(self) -> DocumentWriter:
        self._writers.append(TantivyWriter(self._root))
        return self._writers[-1]

    def reader(self) -> DocumentReader:
        return TantivyReader(self._root)

    def write_until_killed(self, documents_per_write: int) -> int:
        command = [sys.executable, "-m", "tests.search.child", str(self._root), str(documents_per_write)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        told = 0
        with child:
            for line in child.stdout:
                told = int(line)
                if told >= 5 * documents_per_write:
                    child.kill()
        return told

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StorePair]:
    pair = TantivyPair(tmp_path / "search")
    yield pair
    pair.close()


class TestTantivyStore(DocumentStoreSuite):
    pass
