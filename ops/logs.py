"""Heliograph's own logs: structlog to stderr, as JSON lines or for people; values of secret-looking keys are masked."""

from __future__ import annotations

import logging
import re
import sys
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_KEY: Final = re.compile(r"token|secret|password|passwd|authorization|cookie|api_?key", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(
    r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=_.~-]{8,}|([?&](?:code|token)=)[^&\s\"']+|(://)[^/\s:@]+:[^/\s@]+@"
)
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_CHATTY: Final = {
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,
    "elastic_transport": logging.CRITICAL,
    "s3transfer": logging.WARNING,
    "urllib3": logging.ERROR,
}
"""Drivers that tell of every request, or of a failure with its traceback; the adapters say what failed."""

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]


def configure(role: str, level: Level, form: Format, stream: TextIO | None = None) -> structlog.stdlib.BoundLogger:
    """Set up logging of this process, the standard library's included, and give the role's logger."""
    to = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        mask,
    ]
    last: Processor
    if form == "json":
        last = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(colors=to.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("msg"),
            last,
        ]
        if form == "json"
        else [structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )
    handler = logging.StreamHandler(to)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=_LEVELS[level], force=True)
    logging.captureWarnings(True)
    if level != "debug":
        for name, least in _CHATTY.items():
            logging.getLogger(name).setLevel(least)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *(processor for processor in shared if not isinstance(processor, structlog.stdlib.ExtraAdder)),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(role).bind(role=role)
    return log


def mask(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A structlog processor: no secret leaves by a log line."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = "<secret>"
        elif isinstance(value, str):
            event[key] = masked_text(value)
    return event


def masked_text(text: str) -> str:
    """The text without credentials that are recognised by their surroundings."""
    return _SECRET_TEXT.sub(
        lambda match: f"{match[1] + ' ' if match[1] else match[2] or match[3]}<secret>{'@' if match[3] else ''}", text
    )
