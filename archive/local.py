"""Objects as files under one folder.

An object is written under a temporary name in `root/.tmp`, synced, and then linked (put_if_absent) or renamed (put) to its key; the
folders on its way are synced too. A crash leaves at most a temporary file, which no listing shows and the next start removes.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from archive.port import ArchiveUnavailableError, NoSuchObjectError, ObjectExistsError, ObjectInfo

KEY_BYTES_MAX: Final = 1024
_PART: Final = re.compile(r"[A-Za-z0-9_%=+~@,-][A-Za-z0-9_%=+~@,.-]{0,199}\Z")
_TEMPORARY: Final = ".tmp"
_LEFTOVER_AGE_S: Final = 600.0
_KNOWN_FOLDERS_MAX: Final = 10_000


class LocalObjects:
    """An ObjectStore on a local file system that has hard links. Safe from several threads and processes.

    Keys are parts of letters, digits and `_ % = + ~ @ , - .` with slashes between; a part does not begin with a dot.
    A key that is not raises ValueError.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._temporary = root / _TEMPORARY
        self._clock = clock
        self._synced_folders: set[Path] = set()
        try:
            self._temporary.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise _unavailable(root, error) from error

    def put(self, key: str, data: bytes) -> None:
        self._write(key, data, "replace")

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._write(key, data, "link")

    def get(self, key: str) -> bytes:
        path = self._path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NoSuchObjectError(key) from None
        except OSError as error:
            raise _unavailable(path, error) from error

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        try:
            yield from _walk(self._root, "", prefix, after)
        except OSError as error:
            raise _unavailable(self._root, error) from error

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
            _sync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _unavailable(path, error) from error

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if len(key) > KEY_BYTES_MAX or not all(_PART.match(part) for part in parts):
            raise ValueError(f"not an object key: {key!r}")
        return self._root.joinpath(*parts)

    def _write(self, key: str, data: bytes, how: Literal["replace", "link"]) -> None:
        path = self._path(key)
        temporary = self._temporary / os.urandom(12).hex()
        try:
            self._make_folder(path.parent)
            _write_synced(temporary, data)
            if how == "link":
                os.link(temporary, path)
            else:
                temporary.replace(path)
            _sync_folder(path.parent)
        except FileExistsError:
            self._sync_existing(path)
            raise ObjectExistsError(key) from None
        except OSError as error:
            self._synced_folders.clear()
            raise _unavailable(path, error) from error
        finally:
            _remove(temporary)

    def _sync_existing(self, path: Path) -> None:
        # Who finds an object relies on it, and its writer may have died before syncing its name.
        try:
            _sync_folder(path.parent)
        except OSError as error:
            raise _unavailable(path, error) from error

    def _make_folder(self, folder: Path) -> None:
        if folder in self._synced_folders and folder.is_dir():
            return
        self._temporary.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        # Another process may have made these and died before syncing them, so each process syncs them once.
        for each in (folder, *folder.parents):
            if each in self._synced_folders:
                break
            _sync_folder(each)
            if each == self._root:
                break
        if len(self._synced_folders) > _KNOWN_FOLDERS_MAX:
            self._synced_folders.clear()
        self._synced_folders.update((folder, self._root))

    def _sweep(self) -> None:
        for leftover in self._temporary.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if self._clock() - leftover.stat().st_mtime > _LEFTOVER_AGE_S:
                    leftover.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    # It was renamed, or the disk is failing: then a later start sweeps it.
    with contextlib.suppress(OSError):
        path.unlink()


def _walk(folder: Path, above: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """Files in byte order of their keys: a folder sorts as its name with the slash that its keys go on with."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name + "/" if entry.is_dir() else entry.name, entry) for entry in entries]
    except FileNotFoundError:
        return
    found.sort(key=lambda named: named[0])
    for name, entry in found:
        key = above + name
        if name.startswith(".") or not (key.startswith(prefix) or prefix.startswith(key)):
            continue
        if name.endswith("/"):
            if key > after or after.startswith(key):
                yield from _walk(Path(entry.path), key, prefix, after)
        elif key.startswith(prefix) and key > after:
            try:
                yield ObjectInfo(key, entry.stat().st_size)
            except FileNotFoundError:
                continue


def _unavailable(path: Path, error: OSError) -> ArchiveUnavailableError:
    return ArchiveUnavailableError(f"the archive cannot use {path}: {error.strerror or error}")
