"""Servers that Go builds from its module proxy, kept in the cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.maven import cache_folder

_BUILD_S_MAX = 1200.0


def require_go() -> None:
    """Skip the test when Go is missing; fail it with HELIOGRAPH_REQUIRE_SERVERS=1."""
    if shutil.which("go") is not None:
        return
    if os.environ.get("HELIOGRAPH_REQUIRE_SERVERS") == "1":
        pytest.fail("real servers are required: install Go (https://go.dev/dl)", pytrace=False)
    pytest.skip("real servers need Go (https://go.dev/dl)")


def built(name: str, package: str) -> Path:
    """The program `name` of the cache, made by `go install <package>` when it is not there; whole or not at all, and once."""
    program = cache_folder() / name
    if program.is_file():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    # Building takes minutes of every core: of two runs one waits for the other.
    with program.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.is_file():
            _install(program, package)
    return program


def _install(program: Path, package: str) -> None:
    half = program.with_name(f"{program.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    command = ["go", "install", "-trimpath", "-ldflags", "-s -w", package]
    env = {**os.environ, "GOBIN": str(half)}
    try:
        said = subprocess.run(
            command, cwd=half, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_S_MAX
        )
        if said.returncode != 0:
            pytest.fail(f"{package} could not be built: {said.stderr[-2000:]}", pytrace=False)
        (made,) = half.iterdir()
        made.rename(program)
    finally:
        shutil.rmtree(half, ignore_errors=True)
