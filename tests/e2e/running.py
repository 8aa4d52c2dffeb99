"""A platform for a test: started, asked, stopped, and searched for tracebacks at its end."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bus.sqlite import SqliteBus
from heliograph import contracts
from heliograph.message import BUNDLE_CONTENT_TYPE, Message, encode_bundle
from tests.oracle.platform_under_test import Platform, wait_for

START_S = 60.0
ROLES = ("agent", "router-search", "router-archive", "router-tsdb", "query", "rules")
READERS = {
    "router.search": (contracts.LOGS_TOPIC, contracts.TRACES_TOPIC),
    "router.archive": (contracts.METRICS_TOPIC, contracts.LOGS_TOPIC, contracts.TRACES_TOPIC),
    "router.tsdb": (contracts.METRICS_TOPIC,),
}

Ends = Mapping[str, Mapping[int, int]]
"""Offset by topic and partition."""


@contextmanager
def running(platform: Platform) -> Iterator[Platform]:
    """Ready on entry; on exit stopped by Ctrl-C when it still runs, and no traceback was written anywhere."""
    platform.start()
    try:
        await_ready(platform)
        yield platform
        if platform.process is not None:
            assert platform.stop() == 0
    finally:
        platform.kill()
    assert tracebacks(platform.data_dir) == []


def await_ready(platform: Platform) -> None:
    """Every role can do its work."""
    wait_for("every role is ready", lambda: all(readyz(platform, role) == {} for role in ROLES), START_S)


def readyz(platform: Platform, role: str) -> Mapping[str, str] | None:
    """Why a role cannot do its work, by part; None when it does not answer."""
    return _readyz(platform, role, "reasons")


def notes(platform: Platform, role: str) -> Mapping[str, str] | None:
    """What a role says besides, by part; None when it does not answer."""
    return _readyz(platform, role, "notes")


def _readyz(platform: Platform, role: str, key: str) -> Mapping[str, str] | None:
    health = platform.endpoints().get("roles", {}).get(role, {}).get("health")
    if not health:
        return None
    try:
        with urllib.request.urlopen(health + "/readyz", timeout=2.0) as answer:
            body = answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            body = refused.read()
    except OSError:
        return None
    said = json.loads(body)[key]
    assert isinstance(said, dict)
    return said


def tracebacks(data_dir: Path) -> list[str]:
    """Files that a user may look into and that hold a traceback."""
    seen = [data_dir / "up.out", *(data_dir / "logs").glob("*")]
    return [path.name for path in seen if path.is_file() and b"Traceback" in path.read_bytes()]


def ask(platform: Platform, path: str, **parameters: str | int | float) -> Any:
    """An answer of the query service."""
    return platform.get(f"{path}?{urlencode(parameters)}")


def total(platform: Platform, **parameters: str | int) -> int:
    """How many log records match; -1 while the query service is away."""
    try:
        return int(ask(platform, "/api/logs", limit=1, **parameters)["total"])
    except OSError:
        return -1


def vector(platform: Platform, query: str) -> list[Any]:
    """The result of an instant query; empty while the query service is away."""
    try:
        result = ask(platform, "/prometheus/api/v1/query", query=query)["data"]["result"]
    except OSError:
        return []
    assert isinstance(result, list)
    return result


def post(platform: Platform, path: str, body: bytes, content_type: str) -> tuple[int, str]:
    """Status and text that the agent's receiver answers."""
    request = urllib.request.Request(platform.otlp_url + path, body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=20.0) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode(errors="replace")


def announce(platform: Platform, path: str, size_bytes: int, content_type: str) -> tuple[int, str]:
    """Status and text that the receiver answers to the headers of a body of that size."""
    connection = http.client.HTTPConnection("127.0.0.1", platform.otlp_port, timeout=20.0)
    try:
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(size_bytes))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def send(platform: Platform, *messages: Message) -> tuple[int, str]:
    """Post sealed batches as the client does."""
    return post(platform, "/heliograph/v1/batches", encode_bundle(messages), BUNDLE_CONTENT_TYPE)


@contextmanager
def bus_of(data_dir: Path) -> Iterator[SqliteBus]:
    """The platform's bus, with every topic there."""
    bus = SqliteBus(data_dir / "bus" / "bus.db")
    bus.create_topics({topic.name: topic.partitions for topic in contracts.topics().values()})
    try:
        yield bus
    finally:
        bus.close()


def ends(bus: SqliteBus) -> Ends:
    """How far each partition goes now."""
    topics = {topic for of in READERS.values() for topic in of}
    return {topic: bus.end_offsets(topic) for topic in topics}


def is_read(bus: SqliteBus, group: str, until: Ends) -> bool:
    """Whether a router has committed everything up to there."""
    for topic in READERS[group]:
        committed = bus.committed(group, topic)
        if any(committed.get(partition, 0) < end for partition, end in until[topic].items()):
            return False
    return True


def run_up(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """An `up` that is to end by itself."""
    command = [sys.executable, "-m", "ops", "up", "--no-browser", "--data-dir", str(data_dir), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
