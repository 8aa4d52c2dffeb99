"""The archive's sink, and a router that is killed, on S3: the tests of tests/sinks and tests/routers with another store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

import tests.routers.test_archive_router as router_suite
import tests.sinks.test_objects as sink_suite
from archive.memory import MemoryObjects
from archive.s3 import S3Objects
from sinks.objects import ObjectSink
from tests.archive.test_s3 import new_bucket, settings
from tests.servers.s3 import s3

# Building the server takes minutes, once: that is the fixtures' time, not the tests'.
pytestmark = pytest.mark.timeout(120, func_only=True)


class WatchedS3(S3Objects):
    """What MemoryObjects offers to tests beside the port: a hook before each write, and the content as a dict."""

    def before_put(self, key: str) -> None:
        """Sees each key before it is written; tests set another."""

    def put(self, key: str, data: bytes) -> None:
        self.before_put(key)
        super().put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.before_put(key)
        super().put_if_absent(key, data)

    @property
    def objects(self) -> Content:
        return Content(self)


class Content(dict[str, bytes]):
    """What is in a bucket now; what is set goes there."""

    def __init__(self, bucket: S3Objects) -> None:
        super().__init__({info.key: bucket.get(info.key) for info in bucket.list("")})
        self._bucket = bucket

    def __setitem__(self, key: str, data: bytes) -> None:
        self._bucket.put(key, data)


@pytest.fixture
def bucket() -> str:
    return new_bucket(s3())


@pytest.fixture
def objects(bucket: str) -> MemoryObjects:
    return cast(MemoryObjects, WatchedS3(settings(s3(), bucket, prefix="a/prefix")))


@pytest.fixture
def sink(objects: MemoryObjects) -> ObjectSink:
    return sink_suite.sink_on(objects)


globals().update({name: test for name, test in vars(sink_suite).items() if name.startswith("test_")})


@pytest.mark.parametrize(
    "test",
    [
        router_suite.test_a_router_killed_again_and_again_archives_each_message_once,
        router_suite.test_a_stopped_router_that_wakes_after_its_successor_shows_nothing_twice,
    ],
)
def test_routers_on_s3(
    test: Callable[[Path], None], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def process(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "tests.archive.s3_router", str(folder), s3().url, bucket, *options]
        with (folder / "log").open("ab") as log:
            started = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=log, stderr=log)
            try:
                yield started
            finally:
                started.kill()
                started.wait()

    monkeypatch.setattr(router_suite, "process", process)
    monkeypatch.setattr(router_suite, "LocalObjects", lambda _: S3Objects(settings(s3(), bucket)))
    test(tmp_path)
    assert any(S3Objects(settings(s3(), bucket)).list("_manifest/"))
