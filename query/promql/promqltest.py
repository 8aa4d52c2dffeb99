"""Runs PromQL test scripts against the engine over a store in memory."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from query.promql.engine import Engine, Result, ResultKind
from query.promql.errors import PromqlError, UnsupportedError
from query.promql.memory import MemoryStore, filter_series
from query.promql.testscript import Clear, Eval, Load, SeriesLine, parse_script
from tsdb.samples import Labels, Matcher, SampleColumns

_TOLERANCE = 1e-6
_SMALLEST_NORMAL = 2.2250738585072014e-308


@dataclass(slots=True)
class FileReport:
    """How many evaluations of a script came out as it says; `unsupported` ones involve what the engine does not have."""

    passed: int = 0
    failed: int = 0
    unsupported: int = 0
    failures: list[str] = field(default_factory=list)
    """One text per failed evaluation: line, query, reason."""


class _HistogramsTouchedError(Exception):
    """The query reads a series that holds native histograms in the script."""


class _Store(MemoryStore):
    """Refuses selections that would have found native histograms, which the samples cannot hold."""

    def __init__(self, points: dict[Labels, dict[int, float]], histograms: set[Labels]) -> None:
        super().__init__({labels: sorted(own.items()) for labels, own in points.items() if own})
        self._histograms = histograms

    def select(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> SampleColumns:
        if filter_series(self._histograms, matchers):
            raise _HistogramsTouchedError
        return super().select(tenant, matchers, start_ms, end_ms)


def run_file(path: Path) -> FileReport:
    """Run a whole script. Raises ScriptError when it is not understood."""
    report = FileReport()
    points: dict[Labels, dict[int, float]] = {}
    histograms: set[Labels] = set()
    store = _Store(points, histograms)
    for command in parse_script(path.read_text(encoding="utf-8")):
        if isinstance(command, Clear):
            points, histograms = {}, set()
            store = _Store(points, histograms)
        elif isinstance(command, Load):
            _load(command, points, histograms)
            store = _Store(points, histograms)
        else:
            _run(Engine(store), command, report)
    return report


def _load(command: Load, points: dict[Labels, dict[int, float]], histograms: set[Labels]) -> None:
    for series in command.series:
        own = points.setdefault(series.labels, {})
        own.update((index * command.step_ms, value) for index, value in enumerate(series.values) if value is not None)
        if series.histograms:
            histograms.add(series.labels)
        if command.with_nhcb:
            histograms.update(_native_twin(series.labels))


def _native_twin(labels: Labels) -> list[Labels]:
    """The native histogram that upstream's runner makes of a classic one's buckets."""
    own = dict(labels)
    name = own.get("__name__", "")
    own.pop("le", None)
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return [tuple(sorted({**own, "__name__": base}.items()))] if base != name else []


def _run(engine: Engine, command: Eval, report: FileReport) -> None:
    if any(series.histograms for series in command.series):
        report.unsupported += 1
        return
    try:
        reason = _judge(engine, command)
    except (UnsupportedError, _HistogramsTouchedError):
        report.unsupported += 1
        return
    if reason is None:
        report.passed += 1
    else:
        report.failed += 1
        report.failures.append(f"line {command.line}: {command.expr}: {reason}")


def _judge(engine: Engine, command: Eval) -> str | None:
    """Why the evaluation does not come out as expected, or None."""
    failing = command.expects("fail")
    try:
        if command.step_ms:
            result = engine.range("", command.expr, command.start_ms, command.end_ms, command.step_ms)
        else:
            result = engine.instant("", command.expr, command.start_ms)
    except UnsupportedError:
        raise
    except PromqlError as failure:
        if not failing:
            return f"failed: {failure}"
        return next((reason for e in failing if (reason := _text_differs(e.how, e.text, [str(failure)]))), None)
    if failing:
        return "should have failed"
    return _annotations_differ(command, result) or _result_differs(command, result) or _middle_differs(engine, command)


def _text_differs(how: str, wanted: str, texts: list[str]) -> str | None:
    if not wanted:
        return None
    if how == "regex":
        return None if any(re.search(wanted, text) for text in texts) else f"no text matches {wanted}: {texts}"
    return None if wanted in texts else f"expected {wanted}, got {texts}"


def _annotations_differ(command: Eval, result: Result) -> str | None:
    for kind, texts in (("warn", result.warnings), ("info", result.infos)):
        for expectation in command.expects(kind):
            if not texts:
                return f"no {kind} annotation"
            if reason := _text_differs(expectation.how, expectation.text, texts):
                return reason
        if command.expects(f"no_{kind}") and texts:
            return f"unexpected annotations: {texts}"
    return None


def _result_differs(command: Eval, result: Result) -> str | None:
    strings = command.expects("string")
    if strings:
        wanted = strings[0].text[1:-1]
        return None if result.text == wanted else f"expected {wanted!r}, got {result.text!r}"
    if command.scalar is not None:
        if result.kind is not ResultKind.SCALAR:
            return f"expected a scalar, got {result.kind.value}"
        return _values_differ("scalar", [command.scalar], result, 0)
    if command.expects("ordered") and [s.labels for s in command.series] != list(result.labels):
        return f"order differs: {list(result.labels)}"
    return _series_differ(command.series, result)


def _series_differ(wanted: list[SeriesLine], result: Result) -> str | None:
    rows = {labels: row for row, labels in enumerate(result.labels)}
    missing = [series.labels for series in wanted if series.labels not in rows]
    extra = set(rows) - {series.labels for series in wanted}
    if missing or extra:
        return f"missing series {missing}, unexpected series {sorted(extra)}"
    for series in wanted:
        if reason := _values_differ(series.labels, series.values, result, rows[series.labels]):
            return reason
    return None


def _values_differ(name: object, wanted: Sequence[float | None], result: Result, row: int) -> str | None:
    steps = len(result.times)
    padded = [*wanted, *[None] * (steps - len(wanted))]
    got = [
        value if present else None
        for value, present in zip(result.values[row].tolist(), result.present[row].tolist(), strict=True)
    ]
    if len(padded) != steps or not all(map(_equal, padded, got)):
        return f"{name}: expected {padded}, got {got}"
    return None


def _equal(wanted: float | None, got: float | None) -> bool:
    if wanted is None or got is None:
        return wanted is got
    if math.isnan(wanted) or math.isnan(got):
        return math.isnan(wanted) and math.isnan(got)
    if wanted == got:
        return True
    size, distance = abs(wanted) + abs(got), abs(wanted - got)
    if wanted == 0 or got == 0 or size < _SMALLEST_NORMAL:
        return distance < _TOLERANCE * _SMALLEST_NORMAL
    return distance / min(size, 1.7976931348623157e308) < _TOLERANCE


_OF_THE_QUERY = re.compile(r"\b(?:start|end|range|step)\(\)")


def _middle_differs(engine: Engine, command: Eval) -> str | None:
    """An instant query must give the same as the middle step of a range query around it."""
    if command.step_ms or command.expects("string") or command.expects("ordered") or _OF_THE_QUERY.search(command.expr):
        return None
    at = command.start_ms
    try:
        result = engine.range("", command.expr, at - 60_000, at + 60_000, 60_000)
    except PromqlError as failure:
        return f"as a range query: {failure}"
    shown = np.flatnonzero(result.present[:, 1])
    middle = Result(
        ResultKind.SCALAR if command.scalar is not None else ResultKind.VECTOR,
        result.times[1:2],
        [result.labels[row] for row in shown.tolist()],
        result.values[shown, 1:2],
        result.present[shown, 1:2],
    )
    reason = _result_differs(command, middle)
    return None if reason is None else f"as a range query: {reason}"
