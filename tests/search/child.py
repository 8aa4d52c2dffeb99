"""A process of its own that writes to a document store until it is killed."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from search.port import Batch
from search.tantivy_writer import TantivyWriter
from tests.contracts.documents import log


def main(root: str, per_write: int) -> None:
    """Print how many documents are written, after each write."""
    writer = TantivyWriter(Path(root))
    for portion in count():
        documents = [log(i) for i in range(portion * per_write, (portion + 1) * per_write)]
        writer.write([Batch(documents, False)])
        print((portion + 1) * per_write, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
