from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from heliograph.logging_handler import BODY_CHARS_MAX, HeliographHandler, severity_number
from heliograph.records import LogRecord
from heliograph.sdk_logs import record as as_record

Emitted = list[LogRecord]
_names = itertools.count()


class Exporter(LogRecordExporter):
    """Keeps records; `on_export` is what it does besides."""

    def __init__(self) -> None:
        self.emitted: Emitted = []
        self.on_export: Callable[[], None] = lambda: None

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.on_export()
        self.emitted += [as_record(r) for r in batch]
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def shutdown(self) -> None:
        pass


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def handler(exporter: Exporter) -> HeliographHandler:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return HeliographHandler(logging.INFO, provider)


@pytest.fixture
def log(handler: HeliographHandler) -> Iterator[logging.Logger]:
    logger = logging.getLogger(f"shop.{next(_names)}")
    logger.setLevel(1)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def test_a_record_carries_its_message_severity_and_place(log: logging.Logger, exporter: Exporter) -> None:
    log.warning("paid %s", 42)
    (record,) = exporter.emitted
    assert (record["body"], record["severity_text"], record["severity_number"]) == ("paid 42", "WARN", 13)
    assert str(record["attributes"]["code.file.path"]).endswith("test_logging_handler.py")
    assert record["attributes"]["thread.name"] == threading.current_thread().name
    assert record["time_unix_nano"] <= record["observed_time_unix_nano"]


def test_records_below_the_level_are_not_sent(log: logging.Logger, exporter: Exporter) -> None:
    log.debug("quiet")
    log.info("loud")
    assert [r["body"] for r in exporter.emitted] == ["loud"]


def test_a_filter_of_the_handler_is_heeded(log: logging.Logger, handler: HeliographHandler, exporter: Exporter) -> None:
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    log.info("a secret")
    log.info("no such thing")
    assert [r["body"] for r in exporter.emitted] == ["no such thing"]


def test_extra_becomes_attributes(log: logging.Logger, exporter: Exporter) -> None:
    log.info("x", extra={"order_id": 7, "ok": True, "cart": {"items": [1, 2]}, "nothing": None, "when": object})
    attributes = exporter.emitted[0]["attributes"]
    assert (attributes["order_id"], attributes["ok"], attributes["cart"]) == (7, True, '{"items": [1, 2]}')
    assert "nothing" not in attributes
    assert "object" in str(attributes["when"])


def test_an_exception_becomes_attributes(log: logging.Logger, exporter: Exporter) -> None:
    try:
        raise ValueError("no such order")
    except ValueError:
        log.exception("failed")
    attributes = exporter.emitted[0]["attributes"]
    assert (attributes["exception.type"], attributes["exception.message"]) == ("ValueError", "no such order")
    assert "test_logging_handler.py" in str(attributes["exception.stacktrace"])


def test_exc_info_without_an_exception_adds_nothing(log: logging.Logger, exporter: Exporter) -> None:
    log.error("failed", exc_info=True)
    assert not [k for k in exporter.emitted[0]["attributes"] if k.startswith("exception")]


def test_the_trace_comes_from_the_current_span(log: logging.Logger, exporter: Exporter) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    with tracer.start_as_current_span("work") as span:
        log.info("inside")
    log.info("outside")
    inside, outside = exporter.emitted
    assert inside["trace_id"] == span.get_span_context().trace_id.to_bytes(16, "big")
    assert inside["span_id"] == span.get_span_context().span_id.to_bytes(8, "big")
    assert (outside["trace_id"], outside["span_id"]) == (b"", b"")


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "arguments", "extra"),
    [
        ("%d items", ("many",), {}),
        ("%s %s", ("one",), {}),
        ("fine", (), {"value": Hostile()}),
        ("lone \udc80", (), {"\udc80": "\udc80"}),
    ],
    ids=["wrong type", "too few", "no text", "surrogate"],
)
def test_a_record_that_is_wrong_in_itself_is_still_sent(
    handler: HeliographHandler,
    exporter: Exporter,
    message: str,
    arguments: tuple[object, ...],
    extra: dict[str, object],
) -> None:
    fields = {"name": "shop", "levelno": logging.INFO, "msg": message, "args": arguments}
    handler.handle(logging.makeLogRecord(fields | extra))
    assert len(exporter.emitted) == 1


def test_a_message_without_text_raises_nothing(
    handler: HeliographHandler, exporter: Exporter, capsys: pytest.CaptureFixture[str]
) -> None:
    for message in (Hostile(), "next"):
        handler.handle(logging.makeLogRecord({"name": "shop", "levelno": logging.INFO, "msg": message}))
    assert [r["body"] for r in exporter.emitted] == ["next"]
    assert capsys.readouterr().err == ""


def test_a_long_message_is_cut_with_a_mark(log: logging.Logger, exporter: Exporter) -> None:
    log.info("x" * (BODY_CHARS_MAX + 5))
    (record,) = exporter.emitted
    assert len(record["body"]) == BODY_CHARS_MAX
    assert record["attributes"]["log.truncated_chars"] == 5


def test_logging_while_a_record_is_sent_does_not_come_back(log: logging.Logger, exporter: Exporter) -> None:
    exporter.on_export = lambda: log.info("from within")
    log.info("one")
    log.info("two")
    assert [r["body"] for r in exporter.emitted] == ["one", "two"]


def test_an_exporter_that_raises_does_not_reach_the_application(log: logging.Logger, exporter: Exporter) -> None:
    def fail() -> None:
        raise OSError("broken")

    exporter.on_export = fail
    log.info("one")
    exporter.on_export = lambda: None
    log.info("two")
    assert [r["body"] for r in exporter.emitted] == ["two"]


@pytest.mark.parametrize("name", ["heliograph", "heliograph.producer", "opentelemetry.sdk.trace"])
def test_records_of_the_telemetry_itself_are_passed_over(
    handler: HeliographHandler, exporter: Exporter, name: str
) -> None:
    handler.handle(logging.makeLogRecord({"name": name, "msg": "x", "levelno": logging.ERROR}))
    handler.handle(
        logging.makeLogRecord({"name": name + "x.y" if name == "heliograph" else "shop", "msg": "kept", "levelno": 20})
    )
    assert [r["body"] for r in exporter.emitted] == ["kept"]


def test_what_runs_with_instrumentation_suppressed_is_not_sent(log: logging.Logger, exporter: Exporter) -> None:
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        log.info("from an exporter")
    finally:
        detach(token)
    assert exporter.emitted == []


def test_the_handlers_lock_may_be_held_by_another(
    log: logging.Logger, handler: HeliographHandler, exporter: Exporter
) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        handler.acquire()
        held.set()
        free.wait()
        handler.release()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    log.info("all the same")
    free.set()
    holder.join()
    assert [r["body"] for r in exporter.emitted] == ["all the same"]


def test_loggers_without_number_are_bounded(handler: HeliographHandler, exporter: Exporter) -> None:
    for n in range(1_100):
        handler.handle(logging.makeLogRecord({"name": f"n{n}", "msg": "x", "levelno": logging.INFO}))
    assert len(exporter.emitted) == 1_100
    assert len(handler._loggers) <= 1_001


@pytest.mark.parametrize(
    ("level", "number"), [(-1, 0), (0, 0), (5, 3), (10, 5), (15, 7), (20, 9), (30, 13), (40, 17), (50, 21), (99, 24)]
)
def test_levels_become_severities(level: int, number: int) -> None:
    assert severity_number(level) == number


@given(st.integers(), st.integers())
def test_severities_keep_the_order_of_levels(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= severity_number(low) <= severity_number(high) <= 24
