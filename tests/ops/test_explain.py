"""One sentence and an exit code for every error."""

from __future__ import annotations

import errno

import pytest

from alerts.errors import RuleFileError
from bus.errors import BusUnavailableError
from ops.errors import ConfigError, OpsError, Problem
from ops.explain import explain


@pytest.mark.parametrize(
    ("error", "exit_code", "part"),
    [
        (ConfigError([Problem("f:1", "a.b", "no")]), 78, "f:1: a.b: no"),
        (OpsError("so it is"), 1, "so it is"),
        (RuleFileError("r.yaml", "group 1", "a name is missing"), 78, "r.yaml: group 1"),
        (BusUnavailableError("bus.db is damaged: move it away"), 69, "bus.db is damaged"),
        (OSError(errno.ENOSPC, "No space left on device", "/d/x"), 69, "the disk is full (/d/x): free some space"),
        (OSError(errno.EADDRINUSE, "in use"), 69, "a port is in use"),
        (PermissionError(errno.EACCES, "Permission denied", "/d"), 69, "not permitted (/d)"),
        (MemoryError(), 1, "memory is used up"),
        (ZeroDivisionError("division by zero"), 1, "an error of ours (ZeroDivisionError: division by zero)"),
    ],
)
def test_sentences(error: Exception, exit_code: int, part: str) -> None:
    sentence, code = explain(error)
    assert code == exit_code
    assert part in sentence
    assert "\n" not in sentence
