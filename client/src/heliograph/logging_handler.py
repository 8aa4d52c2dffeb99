"""A handler that sends the records of Python's own `logging`."""

from __future__ import annotations

import contextvars
import logging
import time
import traceback
from typing import Final

from opentelemetry._logs import Logger, LoggerProvider, LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value

from .attributes import attribute, clean
from .records import AttributeValue

BODY_CHARS_MAX: Final = 128 * 1024
"""Longer messages are cut, with the attribute `log.truncated_chars`: the SDK's queue is bounded in records, not in bytes."""

_LOGGERS_MAX = 1000
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OWN = ("heliograph", "opentelemetry")
_emitting: contextvars.ContextVar[bool] = contextvars.ContextVar("heliograph_emitting", default=False)


class HeliographHandler(logging.Handler):
    """Turns log records into OpenTelemetry's: `extra=` becomes attributes, `exc_info` the `exception.*` attributes.

    The trace comes from the current span. Records of the telemetry libraries themselves are passed over. Takes no lock and
    never raises.
    """

    def __init__(self, level: int = logging.INFO, provider: LoggerProvider | None = None) -> None:
        super().__init__(level)
        self._provider = provider
        self._loggers: dict[str, Logger] = {}

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit, without the handler's lock: a fork or a signal may find it held."""
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        self._keep_last_resort(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record to the SDK."""
        if record.name.split(".", 1)[0] in _OWN or _emitting.get() or get_value(_SUPPRESS_INSTRUMENTATION_KEY):
            return
        token = _emitting.set(True)
        try:
            self._logger(record.name).emit(_otel_record(record))
        except Exception:
            self.handleError(record)
        finally:
            _emitting.reset(token)

    def _keep_last_resort(self, record: logging.LogRecord) -> None:
        # Without any handler Python prints warnings; that we listen must not silence them.
        last = logging.lastResort
        if last is None or logging.root.handlers != [self] or record.levelno < last.level:
            return
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger and not logger.handlers:
            logger = logger.parent
        if logger is logging.root:
            last.handle(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing: an application's log call never fails, nor prints, because of telemetry."""

    def _logger(self, name: str) -> Logger:
        logger = self._loggers.get(name)
        if logger is None:
            if len(self._loggers) >= _LOGGERS_MAX:
                name = "root"
            logger = (self._provider or get_logger_provider()).get_logger(name)
            self._loggers[name] = logger
        return logger


def severity_number(level: int) -> int:
    """1 to 24 of a logging level: DEBUG 5, INFO 9, WARNING 13, ERROR 17, CRITICAL 21, and steps between; 0 for none."""
    if level <= 0:
        return 0
    band = min(level // 10, 5)
    return 1 + 4 * band + min((level - 10 * band) * 4 // 10, 3)


def _otel_record(record: logging.LogRecord) -> LogRecord:
    attributes = _attributes(record)
    body = _message(record)
    if len(body) > BODY_CHARS_MAX:
        attributes["log.truncated_chars"] = len(body) - BODY_CHARS_MAX
        body = body[:BODY_CHARS_MAX]
    return LogRecord(
        timestamp=int(record.created * 1e9),
        observed_timestamp=time.time_ns(),
        severity_text="WARN" if record.levelname == "WARNING" else record.levelname,
        severity_number=SeverityNumber(severity_number(record.levelno)),
        body=clean(body),
        attributes=attributes,
    )


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit the format: the template still says most
        return str(record.msg)


def _attributes(record: logging.LogRecord) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        "code.file.path": clean(record.pathname),
        "code.line.number": record.lineno,
        "code.function.name": clean(record.funcName or ""),
        "thread.name": clean(record.threadName or ""),
    }
    for key, value in vars(record).items():
        if key not in _RESERVED and value is not None:
            found[clean(str(key))] = attribute(value)
    kind, error, trace = record.exc_info if record.exc_info else (None, None, None)
    if kind is not None:
        found["exception.type"] = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        found["exception.message"] = clean(str(error))[:BODY_CHARS_MAX]
        stack = "".join(traceback.format_exception(kind, error, trace))
        found["exception.stacktrace"] = clean(stack)[-BODY_CHARS_MAX:]
    return found
