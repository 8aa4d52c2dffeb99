"""A router of the archive on S3 that a test may kill: `python -m tests.archive.s3_router FOLDER URL BUCKET [stop]`.

With `stop` it stops itself (SIGSTOP) once, after its first container and before the manifest entry that names it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from prometheus_client import CollectorRegistry

from archive.manifest import ROOT
from archive.s3 import S3Objects
from archive.s3_settings import S3Settings
from bus.embedded_registry import EmbeddedRegistry
from bus.sqlite import SqliteBus
from routers.router import Router
from sinks.decode import WriterSchemas
from sinks.objects import ObjectSink
from sinks.port import CutLimits
from tests.routers.running import GROUP
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY


class StopsBeforeItsFirstEntry(S3Objects):
    """Objects of a process that falls asleep at the worst moment."""

    stopped = False

    def put_if_absent(self, key: str, data: bytes) -> None:
        if key.startswith(ROOT) and not self.stopped:
            self.stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)
        super().put_if_absent(key, data)


def main(folder: Path, settings: S3Settings, stops: bool) -> None:
    bus = SqliteBus(folder / "bus.db")
    schemas = WriterSchemas(EmbeddedRegistry(folder / "registry.db"))
    objects = (StopsBeforeItsFirstEntry if stops else S3Objects)(settings)
    sink = ObjectSink(objects, schemas, f"pid{os.getpid()}")
    sink.limits = CutLimits(age_s=0.01, first_age_s=0.01, bytes_max=4096)
    Router(bus, sink, group=GROUP, member="one", stop=threading.Event(), registry=CollectorRegistry()).run()


if __name__ == "__main__":
    place = S3Settings(
        sys.argv[3], sys.argv[2], access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, path_style=True
    )
    main(Path(sys.argv[1]), place, sys.argv[4:] == ["stop"])
