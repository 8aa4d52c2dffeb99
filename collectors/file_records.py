"""From a byte range of a file to the one batch it becomes: a pure function of the bytes and the intent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collectors.file_lines import Line
from heliograph import contracts
from heliograph.identity import BatchId
from heliograph.message import Message
from heliograph.records import AttributeValue, LogRecord, Source, seal_logs

PARSER_VERSION = 1
"""Raise it when the same bytes become other records."""
INVALID_UTF8 = "heliograph.invalid_utf8"
"""Attribute of a line in which bytes that are not UTF-8 were replaced."""
_SEARCHED_CHARS = 256
_RECORD_OVERHEAD_BYTES = 160  # times, severity, attribute names, lengths and hash, rounded up
_ENVELOPE_BYTES = 8192  # what seal_logs and a large resource add to a batch

_SEVERITY = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|CRIT|CRITICAL|ALERT|EMERG|FATAL|PANIC)\b"
    r"|(?i:\b(?:level|lvl|severity)\"?\s{0,2}[=:]\s{0,2}\"?"
    r"(trace|debug|info|notice|warn|warning|error|err|crit|critical|alert|emerg|fatal|panic)\b)"
    r"|[\[<](trace|debug|info|notice|warn|warning|error|err|crit|critical|alert|emerg|fatal|panic)[\]>:]"
)
_NUMBERS = {
    "trace": 1,
    "debug": 5,
    "info": 9,
    "notice": 10,
    "warn": 13,
    "warning": 13,
    "error": 17,
    "err": 17,
    "crit": 18,
    "critical": 18,
    "alert": 19,
    "emerg": 21,
    "fatal": 21,
    "panic": 21,
}


class FileLogRecord(LogRecord, total=False):
    """A log record that may have been cut while it was read."""

    truncated_bytes: int


@dataclass(frozen=True, slots=True)
class Intent:
    """Everything but the bytes that a batch is made of; journalled before the batch is produced."""

    sequence: int
    partition: int
    device: int
    inode: int
    path: str
    first: int
    """Byte range [first, next)."""
    next: int
    observed_ns: int
    schema_id: int
    config_version: str


def batch_bytes(path: str) -> tuple[int, int]:
    """How many bytes of lines go into one batch of this file, and what each line costs besides its text."""
    return contracts.BATCH_BYTES_TARGET - _ENVELOPE_BYTES, _RECORD_OVERHEAD_BYTES + len(path.encode())


def seal(lines: Sequence[Line], intent: Intent, producer_id: bytes, resource: Mapping[str, str]) -> Message:
    """The batch of an intent."""
    records = [_record(line, intent, i) for i, line in enumerate(lines)]
    batch_id = BatchId(producer_id, intent.sequence)
    messages = seal_logs(records, Source(resource), lambda: batch_id, intent.schema_id)
    if len(messages) != 1:
        raise AssertionError(f"{len(messages)} batches of one intent: batch_bytes() promises too much")
    return messages[0]


def severity(line: str) -> tuple[int, str]:
    """OpenTelemetry's number and the line's own word: a level in capitals, in brackets, or named so; else (0, "")."""
    found = _SEVERITY.search(line, 0, _SEARCHED_CHARS)
    if found is None:
        return 0, ""
    word = found[1] or found[2] or found[3]
    return _NUMBERS[word.lower()], word


def _record(line: Line, intent: Intent, index: int) -> FileLogRecord:
    number, word = severity(line.text)
    attributes: dict[str, AttributeValue] = {"log.file.path": intent.path}
    if line.invalid:
        attributes[INVALID_UTF8] = True
    return {
        "time_unix_nano": intent.observed_ns + index,  # a nanosecond apart, so that stores keep the lines' order
        "observed_time_unix_nano": intent.observed_ns,
        "severity_number": number,
        "severity_text": word,
        "body": line.text,
        "attributes": attributes,
        "trace_id": b"",
        "span_id": b"",
        "flags": 0,
        "truncated_bytes": line.truncated_bytes,
    }
