"""The language of PromQL test scripts: text to commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from query.promql import ast
from query.promql.lexer import duration_ms
from query.promql.parser import parse
from query.promql.windows import STALE_BITS
from tsdb.samples import Labels, Match

STALE = float(np.array([STALE_BITS], np.int64).view(np.float64)[0])

_EVAL = re.compile(
    r"eval(?P<mode>_fail|_warn|_info|_ordered)?\s+"
    r"(?:instant\s+at\s+(?P<at>\S+)|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+))\s+(?P<expr>.+)"
)
_LOAD = re.compile(r"load(?P<nhcb>_with_nhcb)?\s+(?P<step>\S+)$")
_EXPECT = re.compile(
    r"expect\s+(?P<what>string|fail|warn|info|no_warn|no_info|ordered|range)\b\s*(?:(?P<how>msg|regex):)?\s*(?P<text>.*)$"
)
_REPEAT = re.compile(
    r"(?P<value>_|stale|[+-]?(?:[0-9.]+(?:e[+-]?\d+)?|inf|nan))(?P<delta>[+-][0-9.]+(?:e[+-]?\d+)?)?x(?P<times>\d+)$",
    re.I,
)


class ScriptError(Exception):
    """A line that is not understood."""


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """A series with one value per step; None means no sample, and `histograms` that some were left out."""

    labels: Labels
    values: list[float | None]
    histograms: bool


@dataclass(slots=True)
class Load:
    """Adds samples, from time 0 on."""

    step_ms: int
    with_nhcb: bool
    series: list[SeriesLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Clear:
    """Forgets all samples."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One `expect` line."""

    what: str
    how: str
    text: str


@dataclass(slots=True)
class Eval:
    """A query and what it must give. step_ms is 0 for an instant query."""

    line: int
    expr: str
    start_ms: int
    end_ms: int
    step_ms: int
    expectations: list[Expectation] = field(default_factory=list)
    series: list[SeriesLine] = field(default_factory=list)
    scalar: float | None = None

    def expects(self, what: str) -> list[Expectation]:
        """All expectations of one kind."""
        return [expectation for expectation in self.expectations if expectation.what == what]


Command = Load | Clear | Eval


def parse_script(text: str) -> list[Command]:
    """All commands of a script. Raises ScriptError."""
    commands: list[Command] = []
    current: Load | Eval | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line == "clear":
            commands.append(Clear())
        elif found := _LOAD.match(line):
            current = Load(_time_ms(found["step"]), bool(found["nhcb"]))
            commands.append(current)
        elif found := _EVAL.match(line):
            current = _eval(found, number)
            commands.append(current)
        elif current is None:
            raise ScriptError(f"line {number}: {line}")
        else:
            _add_line(current, line)
    return commands


def _eval(found: re.Match[str], number: int) -> Eval:
    if found["at"] is not None:
        at = _time_ms(found["at"])
        command = Eval(number, found["expr"], at, at, 0)
    else:
        start, end, step = (_time_ms(found[name]) for name in ("start", "end", "step"))
        command = Eval(number, found["expr"], start, end, step)
    if found["mode"]:
        command.expectations.append(Expectation(found["mode"].removeprefix("_"), "", ""))
    return command


def _add_line(current: Load | Eval, line: str) -> None:
    if isinstance(current, Eval):
        if found := _EXPECT.match(line):
            current.expectations.append(Expectation(found["what"], found["how"] or "", found["text"]))
            return
        number = _as_number(line)
        if number is not None:
            current.scalar = number
            return
    current.series.append(_series(line))


def _time_ms(text: str) -> int:
    if re.fullmatch(r"[0-9.]+", text):
        return round(float(text) * 1000)
    if not re.fullmatch(r"(?:\d+[a-z]+)+", text):
        raise ScriptError(f"time {text}")
    return duration_ms(text)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _series(line: str) -> SeriesLine:
    brace = line.find("{")
    space = re.search(r"\s", line)
    if brace >= 0 and (space is None or brace <= space.start()):
        end = _closing_brace(line, brace)
    else:
        end = space.start() if space else len(line)
    selector, rest = line[:end].strip(), line[end:].strip()
    labels = () if selector == "{}" else _labels(selector)
    values, histograms = _values(rest)
    return SeriesLine(labels, values, histograms)


def _closing_brace(line: str, start: int) -> int:
    quote = ""
    escaped = False
    for at in range(start, len(line)):
        char = line[at]
        if escaped:
            escaped = False
        elif quote:
            escaped = char == "\\" and quote != "`"
            quote = "" if char == quote else quote
        elif char in "\"'`":
            quote = char
        elif char == "}":
            return at + 1
    raise ScriptError(line)


def _labels(selector: str) -> Labels:
    name, brace, inner = selector.partition("{")
    if brace and not inner.rstrip("}").strip():
        selector = name
    parsed = parse(selector)
    if not isinstance(parsed, ast.VectorSelector) or any(m.op is not Match.EQUAL for m in parsed.matchers):
        raise ScriptError(selector)
    return tuple(sorted((matcher.name, matcher.value) for matcher in parsed.matchers if matcher.value))


def _values(text: str) -> tuple[list[float | None], bool]:
    values: list[float | None] = []
    histograms = False
    for token in re.findall(r"(?:[+-]?\{\{.*?\}\})+(?:x\d+)?|\S+", text):
        if "{{" in token:
            histograms = True
            repeat = re.search(r"x(\d+)$", token)
            values.extend([None] * (int(repeat[1]) + 1 if repeat else 1))
        else:
            values.extend(_expanded(token))
    return values, histograms


def _expanded(token: str) -> list[float | None]:
    """A point, or first+delta×times, which is times + 1 points; _xN is N points."""
    found = _REPEAT.match(token)
    if found is None:
        return [_point(token)]
    times = int(found["times"])
    first = _point(found["value"])
    if first is None:
        return [None] * times
    delta = float(found["delta"] or 0)
    values = [first]
    for _ in range(times):
        values.append(values[-1] + delta if delta else first)
    return list(values)


def _point(text: str) -> float | None:
    if text == "_":
        return None
    if text == "stale":
        return STALE
    value = _as_number(text)
    if value is None:
        raise ScriptError(text)
    return value
