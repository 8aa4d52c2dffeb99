"""label_replace, label_join, sorting and the labels of absent()."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from query.promql import ast
from query.promql.aggregation import check_label_name, with_label
from query.promql.errors import ExecutionError
from query.promql.matrix import NAME, Matrix, merged
from query.promql.regex import Anchored, Found, InvalidRegexError, anchored
from tsdb.samples import Labels, Match, Matcher

_TEMPLATE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_GROUP_DIGITS_MAX = 9
_CHUNKS = re.compile(r"\d+|\D+")


def label_replace(matrix: Matrix, target: str, template: str, source: str, pattern: str) -> Matrix:
    """Set `target` from a template where the whole value of `source` matches. Raises ExecutionError."""
    try:
        regex = anchored(pattern)
    except InvalidRegexError:
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}") from None
    _check_target(target, "label_replace")
    made: dict[str, str | None] = {}
    labels: list[Labels] = []
    nameless = matrix.nameless.copy()
    for row, own in enumerate(matrix.labels):
        value = dict(own).get(source, "")
        if value not in made:
            found = regex.fullmatch(value)
            made[value] = None if found is None else _expanded(template, regex, found)
        fresh = made[value]
        labels.append(own if fresh is None else with_label(own, target, fresh))
        if fresh is not None and target == NAME:
            nameless[row] = False
    return merged(matrix.relabelled(labels, nameless))


def _expanded(template: str, regex: Anchored, found: Found) -> str:
    def value(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if len(name) > _GROUP_DIGITS_MAX and name.isdecimal():
            return ""
        group = int(name) if name.isdecimal() else regex.groupindex.get(name, regex.groups + 1)
        return (found.group(group) or "") if group <= regex.groups else ""

    return _TEMPLATE.sub(value, template)


def label_join(matrix: Matrix, target: str, separator: str, sources: Sequence[str]) -> Matrix:
    """Set `target` to the joined values of other labels. Raises ExecutionError."""
    _check_target(target, "label_join")
    for source in sources:
        _check_target(source, "label_join", "source")
    labels: list[Labels] = []
    for own in matrix.labels:
        values = dict(own)
        labels.append(with_label(own, target, separator.join(values.get(source, "") for source in sources)))
    nameless = matrix.nameless & (target != NAME)
    return merged(matrix.relabelled(labels, nameless))


def _check_target(name: str, function: str, kind: str = "destination") -> None:
    try:
        check_label_name(name)
    except ExecutionError:
        raise ExecutionError(f"invalid {kind} label name in {function}(): {name!a}") from None


def sorted_by_value(matrix: Matrix, *, descending: bool) -> Matrix:
    """Rows by their value at the only step, NaN last."""
    values = matrix.values[:, 0]
    order = np.lexsort((-values if descending else values, np.isnan(values)))
    return matrix.take(order)


def sorted_by_labels(matrix: Matrix, names: Sequence[str], *, descending: bool) -> Matrix:
    """Rows by some labels' values in natural order, then by all labels."""

    def key(row: int) -> tuple[list[list[tuple[bool, int, str]]], Labels]:
        labels = dict(matrix.labels[row])
        return [_natural(labels.get(name, "")) for name in names], matrix.labels[row]

    order = sorted(range(len(matrix.labels)), key=key, reverse=descending)
    return matrix.take(np.array(order, np.intp))


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """Digits compare as numbers."""
    chunks = _CHUNKS.findall(text)
    return [(not c.isdecimal(), int(c) if c.isdecimal() and len(c) < 64 else 0, c) for c in chunks]


def absent_labels(expr: ast.Expr) -> Labels:
    """What absent() can tell of the missing series: its equality matchers, unless a label is matched twice."""
    inner = ast.unwrap(expr)
    if isinstance(inner, ast.MatrixSelector):
        inner = inner.selector
    if not isinstance(inner, ast.VectorSelector):
        return ()
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in inner.matchers:
        if matcher.name == NAME:
            continue
        _note_absent(matcher, labels, seen)
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _note_absent(matcher: Matcher, labels: dict[str, str], seen: set[str]) -> None:
    if matcher.op is Match.EQUAL and matcher.name not in seen:
        labels[matcher.name] = matcher.value
        seen.add(matcher.name)
    else:
        labels.pop(matcher.name, None)
