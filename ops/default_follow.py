"""Which log files `up` follows unasked: our own roles', and this machine's where they are small enough to read from their beginning."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Final

from ops.settings import FollowSettings

SYSTEM_LOGS: Final = ("/var/log/syslog", "/var/log/messages", "/var/log/*.log")
SYSTEM_LOG_BYTES_MAX: Final = 16 * 1024 * 1024
# The agent's own log is left out: a line about a log line would never end.
_NOT_OURS: Final = frozenset({"agent"})


def own_logs(data_dir: Path, roles: Sequence[str]) -> list[FollowSettings]:
    """The roles' own logs."""
    return [
        FollowSettings(path=str(data_dir / "logs" / f"{role}.log"), service=f"heliograph-{role}")
        for role in roles
        if role not in _NOT_OURS
    ]


def system_logs(patterns: Sequence[str] = SYSTEM_LOGS) -> list[FollowSettings]:
    """Log files of this machine that we may read and that are at most SYSTEM_LOG_BYTES_MAX long now."""
    paths = sorted({path for pattern in patterns for path in glob(pattern)})  # noqa: PTH207 - patterns are absolute, which Path.glob refuses
    return [FollowSettings(path=path) for path in paths if _is_small_and_ours(Path(path))]


def _is_small_and_ours(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK) and path.stat().st_size <= SYSTEM_LOG_BYTES_MAX
