"""Runs small programs that use the client, each in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

_WARNINGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")


def run(script: str, *arguments: str, deadline_s: float = 30, status: int = 0, **variables: str) -> str:
    """What the program printed; fails when it ends with another status, prints an error, or is not done by the deadline."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "HELIOGRAPH_"))}
    done = subprocess.run(
        [sys.executable, *_WARNINGS, "-c", textwrap.dedent(script), *arguments],
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert not re.search("Traceback|Exception ignored|ResourceWarning", done.stderr), done.stderr
    return done.stdout
