"""A process of its own that writes to Elasticsearch until it is killed."""

from __future__ import annotations

import sys
from itertools import count

import structlog

from search.elastic_settings import ElasticSettings
from search.elastic_writer import ElasticWriter
from search.port import Batch
from tests.contracts.documents import log


def main(url: str, dataset: str, per_write: int) -> None:
    """Print how many documents are written, after each write."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    writer = ElasticWriter(ElasticSettings((url,), dataset=dataset, replicas=0))
    for portion in count():
        documents = [log(i) for i in range(portion * per_write, (portion + 1) * per_write)]
        writer.write([Batch(documents, False)])
        print((portion + 1) * per_write, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
