"""From any error to one sentence for the user and an exit code."""

from __future__ import annotations

import errno
import os
from typing import Final

from ops.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_UNAVAILABLE, OpsError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_CONFIG_ERRORS: Final = frozenset(
    {
        "RuleFileError",
        "BusConfigError",
        "RegistryConfigError",
        "SearchConfigError",
        "ArchiveConfigError",
        "TsdbConfigError",
    }
)
_OUTSIDE_ERRORS: Final = frozenset(
    {"BusUnavailableError", "RegistryUnavailableError", "SearchUnavailableError", "ArchiveUnavailableError",
     "StoreUnavailableError", "TsdbUnavailableError", "SpoolUnavailableError"}
)  # fmt: skip
_OUR_PACKAGES: Final = frozenset(
    {"alerts", "archive", "bus", "collectors", "heliograph", "query", "routers", "search", "sinks", "tsdb"}
)


def explain(error: BaseException) -> tuple[str, int]:
    """One sentence, and the exit code."""
    if isinstance(error, OpsError):
        return str(error), error.exit_code
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _CONFIG_ERRORS:
        return str(error), EXIT_CONFIG
    if names & _OUTSIDE_ERRORS:
        return str(error), EXIT_UNAVAILABLE
    # By where the class comes from, so that explaining an error imports nothing.
    if type(error).__module__.partition(".")[0] in _OUR_PACKAGES and str(error):
        return str(error), EXIT_FAILURE
    if isinstance(error, OSError):
        return _of_system(error), EXIT_UNAVAILABLE
    if isinstance(error, MemoryError):
        return "memory is used up: free some, or give Heliograph more", EXIT_FAILURE
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"an error of ours ({detail}): set HELIOGRAPH_DEBUG=1 to see where, and tell us", EXIT_FAILURE


def is_debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("HELIOGRAPH_DEBUG", "") not in ("", "0")


def _of_system(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return f"the disk is full{where}: free some space and try again"
    if error.errno == errno.EADDRINUSE:
        return "a port is in use: stop what listens there, or choose another with --port or --otlp-port (0: a free one)"
    if isinstance(error, PermissionError):
        return f"not permitted{where}: check whose it is"
    return f"{error.strerror or error}{where}"
