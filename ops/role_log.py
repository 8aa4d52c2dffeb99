"""A role's log file D/logs/<role>.log: what it writes to stderr, bounded by rotation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 8 * 1024 * 1024


def path_of(data_dir: Path, role: str) -> Path:
    """The file."""
    return data_dir / "logs" / f"{role}.log"


def open_for_append(path: Path) -> int:
    """A descriptor that a process can have as its stderr. Raises OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def bound(path: Path, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Copy the file to `<name>.1` and empty it once it is larger than the limit; whether it was. Raises OSError.

    The process goes on appending to the same file, so the few lines that it writes between copy and emptying are lost.
    """
    try:
        if path.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True


def last_lines(path: Path, count: int, bytes_max: int = 8192) -> list[str]:
    """The end of the file, for a person; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - bytes_max))
            return file.read(bytes_max).decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
