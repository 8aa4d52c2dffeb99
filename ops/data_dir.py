"""The data directory: its lock, its token, and the small files by which processes find each other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ops.errors import AlreadyRunningError, DataDirError

FOLDERS: Final = ("bus", "search", "archive", "tsdb", "agent", "run", "logs", "instances")
_PRIVATE: Final = 0o600
_TOKEN_BYTES: Final = 32
_FILE_BYTES_MAX: Final = 1024 * 1024


def prepare(root: Path) -> None:
    """Make the directory and its folders, readable by this user only. Raises DataDirError."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in FOLDERS:
            (root / name).mkdir(exist_ok=True, mode=0o700)
        probe = root / "run" / ".probe"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise DataDirError(root, error.strerror or str(error)) from error


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Be the only `up` on the directory; the lock goes with the process. Raises AlreadyRunningError, DataDirError."""
    try:
        handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    except OSError as error:
        raise DataDirError(root, error.strerror or str(error)) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 20).decode(errors="replace")
            raise AlreadyRunningError(root, int(holder) if holder.isdecimal() else None) from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def token(root: Path) -> str:
    """The directory's token, made once. Raises DataDirError."""
    path = root / "token"
    try:
        if not path.exists():
            write_private(path, secrets.token_urlsafe(_TOKEN_BYTES).encode())
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataDirError(root, f"token: {error}") from error
    if len(text) < _TOKEN_BYTES:
        raise DataDirError(root, "its token file is damaged; remove it to get a new one")
    return text


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once by one that only this user can read, durably."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """write_private of a JSON document."""
    write_private(path, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON object; empty when it is missing or not one."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_FILE_BYTES_MAX))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
