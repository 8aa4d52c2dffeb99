"""One process at a time writes an embedded store; another that is started beside it waits for its turn."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from ops.errors import DataDirError
from ops.role_context import RoleContext

_TURN_S: Final = 0.25


def await_turn(context: RoleContext, folder: Path, store: str) -> bool:
    """Wait until this process alone writes the folder, which holds until it ends; False when it is told to stop before.

    Raises DataDirError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".writer", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(folder, error.strerror or str(error)) from error
    is_told = False
    while not _taken(lock):
        context.beat()
        context.set_ready({store: "another process writes this store; this one takes over when that one ends"})
        if not is_told:
            is_told = True
            context.log.info("standing by", store=store)
        if context.stop.wait(_TURN_S):
            os.close(lock)
            return False
    return True


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
