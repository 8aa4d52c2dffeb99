"""Our own logs: one JSON object a line, and no secret in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from ops import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_are_json_with_role_level_and_time() -> None:
    stream = io.StringIO()
    logs.configure("agent", "info", "json", stream).info("file found", path="/x", size=3)
    [line] = lines(stream)
    assert line["msg"] == "file found"
    assert (line["level"], line["role"], line["path"], line["size"]) == ("info", "agent", "/x", 3)
    assert line["ts"].endswith("Z")


def test_the_standard_library_and_other_loggers_come_the_same_way() -> None:
    stream = io.StringIO()
    logs.configure("agent", "info", "json", stream)
    logging.getLogger("uvicorn").warning("slow %s", "client", extra={"peer": "x"})
    structlog.get_logger().warning("store_down", store="search")
    assert [(line["msg"], line["level"]) for line in lines(stream)] == [
        ("slow client", "warning"),
        ("store_down", "warning"),
    ]


def test_less_than_the_level_is_not_written() -> None:
    stream = io.StringIO()
    log = logs.configure("agent", "warning", "json", stream)
    log.info("no")
    structlog.get_logger().info("no")
    log.warning("yes")
    assert [line["msg"] for line in lines(stream)] == ["yes"]


def test_an_exception_is_one_line() -> None:
    stream = io.StringIO()
    log = logs.configure("agent", "info", "json", stream)
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("failed")
    [line] = lines(stream)
    assert "ValueError: wrong" in line["exception"]


@pytest.mark.parametrize(
    "event",
    [
        {"token": "s3cr3t-value"},
        {"Authorization": "Bearer s3cr3t-value"},
        {"db_password": "s3cr3t-value"},
        {"url": "http://127.0.0.1:4354/?code=s3cr3t-value"},
        {"url": "https://user:s3cr3t-value@example.org/"},
        {"header": "Bearer s3cr3t-value"},
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_do_not_leave(event: dict[str, str], form: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure("agent", "info", form, stream).info("asked", **event)
    logging.getLogger("other").warning("asked", extra=event)
    assert "asked" in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()


def test_console_lines_are_for_people() -> None:
    stream = io.StringIO()
    logs.configure("agent", "info", "console", stream).info("file found", path="/x")
    assert "file found" in stream.getvalue()
    assert "path=/x" in stream.getvalue()
