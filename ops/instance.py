"""Which of several processes of one role this is: a slot of the data directory, with an id that outlives restarts.

The id is the member's name in consumer groups, so that a restarted process takes its own partitions again (static membership).
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ops.errors import DataDirError, UnavailableError

FOLDER: Final = "instances"
INSTANCES_MAX: Final = 64
_ID_BYTES: Final = 32
_TURN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Instance:
    """A slot that is this process' own until it ends."""

    name: str
    """The role, with a number for processes beside the first."""
    id: str
    """32 hex digits, of this slot of this data directory for ever."""
    _lock: int = field(repr=False)


def claim_supervised(root: Path, role: str, patience_s: float = 5.0) -> Instance:
    """The role's own slot, for a process below `up`; one that is just ending is waited for. Raises UnavailableError, DataDirError."""
    deadline_s = time.monotonic() + patience_s
    while (found := _claim(root, role)) is None:
        if time.monotonic() > deadline_s:
            raise UnavailableError(
                f"another {role} runs on {root}: stop it, or choose another directory with --data-dir"
            )
        time.sleep(_TURN_S)
    return found


def claim_free(root: Path, role: str) -> Instance:
    """The first free slot, for a process that runs by itself; the role's own is left to `up` where one runs.

    Raises UnavailableError, DataDirError.
    """
    first = 1 if _up_runs(root) else 0
    for number in range(first, INSTANCES_MAX):
        found = _claim(root, f"{role}-{number}" if number else role)
        if found is not None:
            return found
    raise UnavailableError(
        f"{INSTANCES_MAX} processes of {role} run on {root} already: give this one its own --data-dir"
    )


def _up_runs(root: Path) -> bool:
    try:
        handle = os.open(root / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _claim(root: Path, name: str) -> Instance | None:
    path = root / FOLDER / name
    try:
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return Instance(name, _id(lock), lock)
    except OSError as error:
        raise DataDirError(path, error.strerror or str(error)) from error


def _id(lock: int) -> str:
    text = os.pread(lock, _ID_BYTES + 1, 0).decode("ascii", "replace").strip()
    if len(text) == _ID_BYTES and text.isalnum():
        return text
    fresh = uuid.uuid4().hex
    os.ftruncate(lock, 0)
    os.pwrite(lock, fresh.encode(), 0)
    os.fsync(lock)
    return fresh
