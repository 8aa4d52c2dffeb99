"""What can go wrong between us and Elasticsearch; all of it is the store's fault while the platform runs."""

from __future__ import annotations

from typing import Any, Final

from search.port import SearchUnavailableError

_REASON_CHARS_MAX: Final = 300


class NoAnswerError(SearchUnavailableError):
    """No answer, or none that says what was done: a request that writes may have been carried out."""


class AnswerTooLargeError(SearchUnavailableError):
    """The answer is larger than the limit; it was not read to its end."""


class AccessRefusedError(SearchUnavailableError):
    """Only the operator can mend this: a password, a permission, a certificate, a template, a version."""


def reason_of(body: object) -> str:
    """Elasticsearch's own words for a failure, cut; empty when it has none."""
    error: Any = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return error[:_REASON_CHARS_MAX]
    if not isinstance(error, dict):
        return ""
    # The deepest cause says what is wrong, the outermost only where.
    cause, depth = error, 0
    while isinstance(cause.get("caused_by"), dict) and depth < 10:
        cause, depth = cause["caused_by"], depth + 1
    return f"{cause.get('type', 'error')}: {cause.get('reason', '')}"[:_REASON_CHARS_MAX]
