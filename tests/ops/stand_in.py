"""A tiny role for the supervisor's tests: `python stand_in.py DATA_DIR NAME`, where the name says how it behaves."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ops.errors import ConfigError, PortInUseError, Problem
from ops.role_context import RoleContext
from ops.role_main import end, run_supervised
from ops.settings import Settings

TURN_S = 0.02


def run(settings: Settings, context: RoleContext) -> int:
    if context.name.startswith("misconfigured"):
        raise ConfigError([Problem("rules.yaml:3", "expr", "no closing bracket")])
    if context.name.startswith("unlucky"):
        raise PortInUseError("127.0.0.1", 4318, "--otlp-port")
    if context.name.startswith("crashing"):
        return 3
    if context.name == "agent":
        context.serves("otlp_http", f"http://{settings.otlp.host}:{settings.otlp.port}")
    context.set_ready({"store": "never comes"} if context.name.startswith("waiting") else {})
    while not context.stop.is_set() or context.name.startswith("deaf"):
        context.beat()
        time.sleep(TURN_S)
    with (context.data_dir / "ended").open("a") as file:
        file.write(f"{context.name}\n")
    return 0


if __name__ == "__main__":
    end(run_supervised(sys.argv[2], run, Path(sys.argv[1]), sys.stdin.buffer))
