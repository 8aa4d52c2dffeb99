"""Ranges, steps and offsets: constant scalar expressions, in which step() and range() may stand."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from query.promql import ast
from query.promql.errors import ExecutionError

_MS_MAX = 2**53
_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "^": operator.pow,
}
_OF_QUERY = ("step", "range")
_OF_TWO: dict[str, Callable[[float, float], float]] = {"min_of": min, "max_of": max}


def check_duration(expr: ast.Expr, *, positive: bool) -> str | None:
    """Why an expression cannot be a duration, or None. Constants are evaluated, so that their range is checked early."""
    if not _is_duration(expr):
        return "only number literal or duration expression allowed in duration position"
    if _is_constant(expr):
        try:
            value = duration_ms(expr, 0, 0)
        except ExecutionError as failure:
            return str(failure)
        if positive and value <= 0:
            return "duration must be greater than 0"
    return None


def duration_ms(expr: ast.Expr, step_ms: int, range_ms: int) -> int:
    """The value in milliseconds for a query's step and range. Raises ExecutionError when it is no finite number."""
    try:
        value = _seconds(expr, step_ms / 1000, range_ms / 1000) * 1000
    except (ZeroDivisionError, OverflowError, ValueError):
        value = math.nan
    if isinstance(value, complex) or not math.isfinite(value) or abs(value) > _MS_MAX:
        raise ExecutionError("duration out of range")
    return round(value)


def _seconds(expr: ast.Expr, step_s: float, range_s: float) -> float:
    match expr:
        case ast.NumberLiteral(value=value):
            return value
        case ast.Paren(expr=inner):
            return _seconds(inner, step_s, range_s)
        case ast.Unary(op=op, expr=inner):
            return -_seconds(inner, step_s, range_s) if op == "-" else _seconds(inner, step_s, range_s)
        case ast.Binary(op=op, left=left, right=right):
            return _OPERATORS[op](_seconds(left, step_s, range_s), _seconds(right, step_s, range_s))
        case ast.Call(function=name, args=args) if name in _OF_TWO:
            first, second = (_seconds(arg, step_s, range_s) for arg in args)
            return _OF_TWO[name](first, second)
        case ast.Call(function=name):
            return step_s if name == "step" else range_s
        case _:
            raise AssertionError(expr)


def _is_duration(expr: ast.Expr) -> bool:
    match expr:
        case ast.NumberLiteral():
            return True
        case ast.Paren(expr=inner) | ast.Unary(expr=inner):
            return _is_duration(inner)
        case ast.Binary(op=op, left=left, right=right):
            return op in _OPERATORS and _is_duration(left) and _is_duration(right)
        case ast.Call(function=name, args=args):
            return name in _OF_QUERY or (name in _OF_TWO and all(_is_duration(arg) for arg in args))
        case _:
            return False


def _is_constant(expr: ast.Expr) -> bool:
    match expr:
        case ast.Paren(expr=inner) | ast.Unary(expr=inner):
            return _is_constant(inner)
        case ast.Binary(left=left, right=right):
            return _is_constant(left) and _is_constant(right)
        case ast.Call(function=name, args=args):
            return name in _OF_TWO and all(_is_constant(arg) for arg in args)
        case _:
            return True
