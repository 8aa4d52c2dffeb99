"""`heliograph role NAME`: one role in this process, under a supervisor or alone in a container."""

from __future__ import annotations

import difflib
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

from ops import data_dir as directory
from ops.errors import OpsError
from ops.role_context import RunRole
from ops.role_main import end, run_role, run_supervised
from ops.roles import ROLES
from ops.settings_load import load


def run_role_command(name: str, data_dir: Path | None, config: Path | None) -> NoReturn:
    """Run it with the settings of a file and leave with its exit code. Raises OpsError before it runs."""
    run = _role(name)
    settings = load(config, os.environ, {"data_dir": str(data_dir)} if data_dir else {})
    directory.prepare(settings.data_dir)
    end(run_role(name, run, settings, settings.data_dir.resolve(), threading.Event()))


def run_supervised_command(name: str, data_dir: str) -> NoReturn:
    """Run it with the settings that come by standard input and leave with its exit code."""
    end(run_supervised(name, _role(name), Path(data_dir), sys.stdin.buffer))


def _role(name: str) -> RunRole:
    run = ROLES.get(name)
    if run is None:
        near = difflib.get_close_matches(name, ROLES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ROLES)}"
        raise OpsError(f"there is no role {name}: {hint}")
    return run
