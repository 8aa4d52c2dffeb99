"""Label matchers over series sets: each distinct label value is tested once, series are picked by its code."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import re2

from .label_columns import LabelColumns
from .samples import Longs, Match, Matcher

_MAX_MEM: Final = 8 * 1024 * 1024
_LITERALS: Final = re.compile(r"[A-Za-z0-9_:/ ,=@%&~#\-|]*")
_PREFIX: Final = re.compile(r"([A-Za-z0-9_:/ ,=@%&~#\-]*)\.[*]")


def predicate(matcher: Matcher) -> Callable[[str], bool]:
    """Whether a label value matches. Raises ValueError when the regular expression is none."""
    value = matcher.value
    if matcher.op is Match.EQUAL:
        return lambda text: text == value
    if matcher.op is Match.NOT_EQUAL:
        return lambda text: text != value
    positive = _regex(value)
    if matcher.op is Match.REGEX:
        return positive
    return lambda text: not positive(text)


def select(labels: LabelColumns, matchers: Sequence[Matcher]) -> Longs:
    """Ordinals of the series that match all matchers, ascending."""
    mask = np.ones(labels.count, np.bool_)
    for matcher in matchers:
        test = predicate(matcher)
        column = labels.columns.get(matcher.name)
        if column is None:
            if not test(""):
                return np.zeros(0, np.int64)
            continue
        passes = np.array([test(value) for value in column.values], np.bool_)
        mask &= passes[column.codes]
    return np.flatnonzero(mask)


def _regex(pattern: str) -> Callable[[str], bool]:
    """The usual patterns without an engine: alternatives of literals, and a literal prefix."""
    if _LITERALS.fullmatch(pattern):
        alternatives = frozenset(pattern.split("|"))
        return lambda text: text in alternatives
    prefixed = _PREFIX.fullmatch(pattern)
    if prefixed is not None:
        start = prefixed.group(1)
        return lambda text: text.startswith(start)
    if pattern == ".+":
        return lambda text: text != ""
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MAX_MEM
    try:
        compiled: Any = re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"not a regular expression: {pattern!r}: {error}") from error
    return lambda text: compiled.fullmatch(text) is not None
