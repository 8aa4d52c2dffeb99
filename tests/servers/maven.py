"""Servers' files from Maven Central, kept in a cache folder outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_FETCH_S_MAX = 1200.0


def cache_folder() -> Path:
    """$HELIOGRAPH_SERVERS_CACHE, or one in the user's own cache."""
    named = os.environ.get("HELIOGRAPH_SERVERS_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "heliograph-servers"


def require_java(least: int) -> None:
    """Skip the test when Java of that version or Maven is missing; fail it with HELIOGRAPH_REQUIRE_SERVERS=1."""
    if os.environ.get("HELIOGRAPH_REAL_SERVERS") != "1" and os.environ.get("HELIOGRAPH_REQUIRE_SERVERS") != "1":
        pytest.skip("real servers: the adapters are not finished; HELIOGRAPH_REAL_SERVERS=1 runs their suites")
    found = java_version()
    if found < least:
        _missing(f"Java {least} (apt install openjdk-{least}-jre-headless)")
    if shutil.which("mvn") is None:
        _missing("Maven (apt install maven)")


def java_version() -> int:
    """The major version of `java`; 0 when there is none."""
    if shutil.which("java") is None:
        return 0
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60, check=False)
    match = re.search(r'version "(\d+)', said.stderr)
    return int(match[1]) if match else 0


def fetched(name: str, goal: Sequence[str]) -> Path:
    """The folder `name` of the cache, filled by `mvn <goal> -DoutputDirectory=` when it is not there; whole or not at all."""
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = folder.with_name(f"{name}.{os.getpid()}")
    # In the folder itself, because the plugin leaves its marker files in ./target.
    half.mkdir()
    command = ["mvn", "-B", "-q", *goal, f"-DoutputDirectory={half / 'out'}"]
    said = subprocess.run(
        command, cwd=half, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_FETCH_S_MAX, check=False
    )
    if said.returncode != 0:
        shutil.rmtree(half)
        pytest.fail(f"{name} could not be fetched from Maven Central: {said.stdout[-2000:]}", pytrace=False)
    try:
        (half / "out").rename(folder)
    except OSError:
        # Another run was quicker.
        assert folder.is_dir()
    shutil.rmtree(half)
    return folder


def _missing(what: str) -> None:
    if os.environ.get("HELIOGRAPH_REQUIRE_SERVERS") == "1":
        pytest.fail(f"real servers are required: install {what}", pytrace=False)
    pytest.skip(f"real servers need {what}")
