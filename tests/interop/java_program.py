"""The Java program of tests/interop/java, compiled once per test run against Apache's jars."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.servers.maven import fetched, java, require_java

_SOURCE = Path(__file__).parent / "java"
_RUN_S_MAX = 90.0


def require_jdk() -> None:
    """Skip the test when a JDK 17 or Maven is missing; fail it with HELIOGRAPH_REQUIRE_SERVERS=1."""
    require_java(17)
    if shutil.which("javac") is not None:
        return
    if os.environ.get("HELIOGRAPH_REQUIRE_SERVERS") == "1":
        pytest.fail("a client in Java is required: install a JDK (apt install openjdk-17-jdk-headless)", pytrace=False)
    pytest.skip("a client in Java needs a JDK (apt install openjdk-17-jdk-headless)")


def interop(*arguments: str, given: object = None) -> list[dict[str, Any]]:
    """What the program prints, a JSON object a line; `given` goes to its standard input as JSON."""
    classes = class_path()
    command = [str(java(17)), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classes, "Interop", *arguments]
    said = subprocess.run(
        command, input=json.dumps(given), capture_output=True, encoding="utf-8", timeout=_RUN_S_MAX, check=False
    )
    assert said.returncode == 0, said.stderr[-3000:]
    return [json.loads(line) for line in said.stdout.splitlines()]


@functools.cache
def class_path() -> str:
    """Our program, compiled, and what it needs."""
    require_jdk()
    jars = fetched("interop-avro-1.12.2-kafka-4.4.0", ["-f", str(_SOURCE / "pom.xml"), "dependency:copy-dependencies"])
    classes = tempfile.mkdtemp(prefix="heliograph-interop-")
    made = subprocess.run(
        ["javac", "--release", "17", "-Xlint:all,-processing", "-Werror", "-cp", f"{jars}/*", "-d", classes, str(_SOURCE / "Interop.java")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    return f"{classes}{os.pathsep}{jars}/*"
