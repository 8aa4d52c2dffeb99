from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archive.local import LocalObjects
from archive.port import ArchiveUnavailableError, ObjectExistsError, ObjectStore
from tests.contracts.object_store_suite import ObjectStoreSuite


class TestLocalObjects(ObjectStoreSuite):
    @pytest.fixture
    def objects(self, tmp_path: Path) -> ObjectStore:
        return LocalObjects(tmp_path / "archive")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "a/../b",
        "../a",
        "a//b",
        "a/",
        ".tmp/x",
        "a/.hidden",
        "a\0b",
        "a b",
        "ä",
        "x" * 201,
        "a/" * 600,
    ],
)
def test_a_key_that_could_leave_the_folder_is_refused(tmp_path: Path, key: str) -> None:
    objects = LocalObjects(tmp_path / "archive")
    for call in (objects.get, objects.delete, lambda k: objects.put(k, b""), lambda k: objects.put_if_absent(k, b"")):
        with pytest.raises(ValueError, match="not an object key"):
            call(key)


def test_leftovers_of_a_crash_are_not_listed_and_go_at_a_later_start(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("a/b", b"x")
    leftover = tmp_path / ".tmp" / "0123456789ab"
    leftover.write_bytes(b"half of an obj")
    assert [info.key for info in objects.list("")] == ["a/b"]
    age_s = leftover.stat().st_mtime
    LocalObjects(tmp_path, clock=lambda: age_s + 60)
    assert leftover.exists()
    LocalObjects(tmp_path, clock=lambda: age_s + 3600)
    assert not leftover.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_full_or_failing_disk_is_the_stores_fault_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("a/old", b"old")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        for put in (objects.put, objects.put_if_absent):
            with pytest.raises(ArchiveUnavailableError, match=os.strerror(code)):
                put("a/new", b"new")
    assert [info.key for info in objects.list("")] == ["a/old"]
    assert list((tmp_path / ".tmp").iterdir()) == []
    objects.put_if_absent("a/new", b"new")


def test_a_folder_that_cannot_be_made_is_the_stores_fault(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"a file is in the way")
    with pytest.raises(ArchiveUnavailableError):
        LocalObjects(tmp_path / "archive")


def test_an_object_is_synced_before_it_has_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = LocalObjects(tmp_path)
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def watched_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("sync file" if path.parent.name == ".tmp" else f"sync {path.relative_to(tmp_path)}")
        fsync(descriptor)

    def watched_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "link", watched_link)
    objects.put_if_absent("a/b/c", b"x")
    assert steps == ["sync a/b", "sync a", "sync .", "sync file", "link", "sync a/b"]
    steps.clear()
    objects.put_if_absent("a/b/d", b"x")
    assert steps == ["sync file", "link", "sync a/b"]
    steps.clear()
    with pytest.raises(ObjectExistsError):
        objects.put_if_absent("a/b/d", b"x")
    assert steps[-1] == "sync a/b"


_WRITER = """
import sys
from pathlib import Path
from archive.local import LocalObjects
objects = LocalObjects(Path(sys.argv[1]))
i = 0
while True:
    objects.put_if_absent(f"k/{i:06d}", (b"%06d" % i) * 20000)
    print(i, flush=True)
    i += 1
"""


def test_what_was_acknowledged_before_a_kill_is_there_and_whole(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(20):
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.stdout.close()
    writer.wait()
    acknowledged = int(rest[-1]) if rest else acknowledged
    objects = LocalObjects(tmp_path)
    keys = [info.key for info in objects.list("k/")]
    assert len(keys) in (acknowledged + 1, acknowledged + 2)
    for i, key in enumerate(keys):
        assert objects.get(key) == (b"%06d" % i) * 20000
