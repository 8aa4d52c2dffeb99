"""Regular expressions as PromQL reads them: RE2, anchored at both ends, dot matches newline."""

from __future__ import annotations

from typing import Protocol

import re2


class Found(Protocol):
    """What a successful match gives."""

    def group(self, group: int) -> str | None: ...


class Anchored(Protocol):
    """A compiled pattern; `fullmatch` is None when the text does not match."""

    groups: int
    groupindex: dict[str, int]

    def fullmatch(self, text: str) -> Found | None: ...


class InvalidRegexError(ValueError):
    """The pattern is not valid RE2; the message says why."""


def anchored(pattern: str) -> Anchored:
    """Compile a pattern. Raises InvalidRegexError."""
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    try:
        compiled: Anchored = re2.compile(pattern, options)
    except re2.error as failure:
        reason = failure.args[0]
        raise InvalidRegexError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
    except UnicodeEncodeError:
        raise InvalidRegexError("invalid UTF-8") from None
    return compiled
