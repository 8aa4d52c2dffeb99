"""A router of the archive as a process that a test may kill: `python -m tests.routers.archive_router FOLDER [stop]`.

With `stop` it stops itself (SIGSTOP) once, after its first container and before the manifest entry that names it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from prometheus_client import CollectorRegistry

from archive.local import LocalObjects
from archive.manifest import ROOT
from bus.embedded_registry import EmbeddedRegistry
from bus.sqlite import SqliteBus
from routers.router import Router
from sinks.decode import WriterSchemas
from sinks.objects import ObjectSink
from sinks.port import CutLimits
from tests.routers.running import GROUP


class StopsBeforeItsFirstEntry(LocalObjects):
    """Objects of a process that falls asleep at the worst moment."""

    stopped = False

    def put_if_absent(self, key: str, data: bytes) -> None:
        if key.startswith(ROOT) and not self.stopped:
            self.stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)
        super().put_if_absent(key, data)


def main(folder: Path, stops: bool) -> None:
    bus = SqliteBus(folder / "bus.db")
    schemas = WriterSchemas(EmbeddedRegistry(folder / "registry.db"))
    objects = (StopsBeforeItsFirstEntry if stops else LocalObjects)(folder / "archive")
    sink = ObjectSink(objects, schemas, f"pid{os.getpid()}")
    sink.limits = CutLimits(age_s=0.01, first_age_s=0.01, bytes_max=4096)
    Router(bus, sink, group=GROUP, member="one", stop=threading.Event(), registry=CollectorRegistry()).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["stop"])
