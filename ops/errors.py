"""Errors of running Heliograph; each text is one sentence for the user that says what to do.

OpsError                    exit 1
├── ConfigError             exit 78: the configuration is wrong; `problems` names each place
├── UnavailableError        exit 69: something outside is in the way
│   ├── PortInUseError
│   ├── AlreadyRunningError
│   └── DataDirError
└── RoleFailedError         a role gave up for good
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EXIT_FAILURE = 1
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78


class OpsError(Exception):
    """Anything this package raises."""

    exit_code = EXIT_FAILURE


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong setting."""

    origin: str
    """Where it was said: `file.yaml:3`, an environment variable, or a flag."""
    key: str
    """Dotted path; empty when it is not about one setting."""
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.key, self.reason) if part)


class ConfigError(OpsError):
    """The configuration is wrong."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class UnavailableError(OpsError):
    """Something outside is in the way."""

    exit_code = EXIT_UNAVAILABLE


class PortInUseError(UnavailableError):
    """Another process listens there."""

    def __init__(self, host: str, port: int, flag: str) -> None:
        super().__init__(
            f"port {port} on {host} is in use: stop what listens there, or choose another with {flag} (0: a free one)"
        )
        self.host = host
        self.port = port


class AlreadyRunningError(UnavailableError):
    """Another `up` holds the data directory."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{data_dir} is in use by {who}: stop it with Ctrl-C, or choose another directory with --data-dir"
        )
        self.data_dir = data_dir
        self.pid = pid


class DataDirError(UnavailableError):
    """The data directory cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be used as data directory ({reason}): mend it, or choose another with --data-dir"
        )
        self.path = path


class RoleFailedError(OpsError):
    """A role gave up for good, with the exit code that it gave."""

    def __init__(self, role: str, reason: str, exit_code: int) -> None:
        super().__init__(f"{role}: {reason}")
        self.role = role
        self.exit_code = exit_code
