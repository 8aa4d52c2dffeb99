"""A dataset of its own on the shared server: what a test writes to Elasticsearch is seen by no other, and gone after it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import urllib.request
import uuid
from typing import Any

from search.elastic_client import ElasticClient
from search.elastic_names import STREAMS, data_stream
from search.elastic_reader import ElasticReader
from search.elastic_settings import ElasticSettings
from search.elastic_writer import ElasticWriter
from tests.servers.elasticsearch import elasticsearch

_numbers = itertools.count()
_run = uuid.uuid4().hex[:8]


class Dataset:
    """Use it as a context."""

    def __init__(self, url: str | None = None) -> None:
        """On another server than the shared one, by its URL."""
        self.url = url or elasticsearch().url
        self.name = f"t{_run}.{next(_numbers)}"
        self._writers: list[ElasticWriter] = []
        self.client = ElasticClient(self.settings())

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
        self.client.close()
        for stream in STREAMS:
            for tenant in ("default", "other"):
                self._delete(f"/_data_stream/{data_stream(stream, self.name, tenant)}")
            self._delete(f"/_index_template/heliograph-{stream}-{self.name}")

    def settings(self, **changed: Any) -> ElasticSettings:
        found: dict[str, Any] = {
            "urls": (self.url,),
            "dataset": self.name,
            "replicas": 0,
            "bulk_bytes_max": 1024 * 1024,
        }
        return ElasticSettings(**found | changed)

    def writer(self, **changed: Any) -> ElasticWriter:
        self._writers.append(ElasticWriter(self.settings(**changed)))
        return self._writers[-1]

    def reader(self, **changed: Any) -> ElasticReader:
        return ElasticReader(self.settings(**changed))

    def stream(self, tenant: str = "default") -> str:
        return data_stream("logs", self.name, tenant)

    def roll_over(self) -> str:
        """Returns the name of the new write index."""
        return str(self.client.ask("POST", f"/{self.stream()}/_rollover").body["new_index"])

    def write_until_killed(self, documents_per_write: int) -> int:
        """See StorePair."""
        command = [sys.executable, "-m", "tests.search.elastic_child", self.url, self.name, str(documents_per_write)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        told = 0
        with child:
            for line in child.stdout:
                told = int(line)
                if told >= 5 * documents_per_write:
                    child.kill()
        return told

    def _delete(self, path: str) -> None:
        request = urllib.request.Request(f"{self.url}{path}", method="DELETE")
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except urllib.error.HTTPError as error:
            error.close()
            assert error.code == 404
