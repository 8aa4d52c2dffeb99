"""Java, and servers' files from Maven Central, kept in a cache folder outside the checkout."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_FETCH_S_MAX = 1200.0


def cache_folder() -> Path:
    """$HELIOGRAPH_SERVERS_CACHE, or one in the user's own cache."""
    named = os.environ.get("HELIOGRAPH_SERVERS_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "heliograph-servers"


def require_java(least: int) -> None:
    """Skip the test when Java of that version or Maven is missing; fail it with HELIOGRAPH_REQUIRE_SERVERS=1."""
    java(least)
    if shutil.which("mvn") is None:
        _missing("Maven (apt install maven)")


def java(least: int) -> Path:
    """The program `java` of the oldest version that fits, of $JAVA_HOME, the PATH and /usr/lib/jvm.

    Where there is none the test is skipped; it fails with HELIOGRAPH_REQUIRE_SERVERS=1.
    """
    # Oldest first, because servers are slower to follow a new Java than to leave an old one.
    fitting = sorted((version, order, path) for order, (version, path) in enumerate(_javas()) if version >= least)
    if not fitting:
        _missing(f"Java {least} (apt install openjdk-{least}-jre-headless)")
    return fitting[0][2]


def java_version() -> int:
    """The major version of `java` on the PATH; 0 when there is none."""
    found = shutil.which("java")
    return _version(Path(found)) if found else 0


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


def _javas() -> Iterator[tuple[int, Path]]:
    """Version and path of each, the one that was asked for first."""
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    places = [Path(home) / "bin" / "java"] if home else []
    places += [Path(on_path)] if on_path else []
    places += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for path in dict.fromkeys(place.resolve() for place in places if place.is_file()):
        yield _version(path), path


@functools.cache
def _version(path: Path) -> int:
    """The major version; 0 when it does not say one."""
    said = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60, check=False)
    match = re.search(r'version "(\d+)', said.stderr)
    return int(match[1]) if match else 0


def _missing(what: str) -> None:
    if os.environ.get("HELIOGRAPH_REQUIRE_SERVERS") == "1":
        pytest.fail(f"real servers are required: install {what}", pytrace=False)
    pytest.skip(f"real servers need {what}")
