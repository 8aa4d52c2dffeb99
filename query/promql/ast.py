"""The syntax tree of PromQL. Every node knows where it stands in the text."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tsdb.samples import Matcher


class ValueType(enum.Enum):
    """What an expression yields; the values are the words of error messages."""

    SCALAR = "scalar"
    STRING = "string"
    VECTOR = "instant vector"
    MATRIX = "range vector"


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of a node in the query text, end exclusive."""

    start: int
    end: int


class AtBound(enum.Enum):
    """The symbolic times of the @ modifier."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number, or a duration in seconds."""

    value: float
    span: Span


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """A string, unescaped."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """Series chosen by matchers, the metric name among them. `at` is milliseconds."""

    matchers: tuple[Matcher, ...]
    span: Span
    offset: Expr | None = None
    at: int | AtBound | None = None


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """A vector selector with a range; offset and @ stand on the inner selector."""

    selector: VectorSelector
    range: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Subquery:
    """An instant query evaluated over a range; without a step the engine's default counts."""

    expr: Expr
    range: Expr
    step: Expr | None
    span: Span
    offset: Expr | None = None
    at: int | AtBound | None = None


@dataclass(frozen=True, slots=True)
class Paren:
    """An expression in parentheses."""

    expr: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """A sign: + or -."""

    op: str
    expr: Expr
    span: Span


class Cardinality(enum.Enum):
    """How many series of each side may match; the values are Prometheus' names."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True, slots=True)
class Matching:
    """How series of two vectors find each other."""

    cardinality: Cardinality
    on: bool
    labels: tuple[str, ...]
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions; `matching` only between two vectors."""

    op: str
    left: Expr
    right: Expr
    span: Span
    return_bool: bool = False
    matching: Matching | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """An aggregation; `param` for those that take one, `without` turns the grouping round."""

    op: str
    expr: Expr
    param: Expr | None
    grouping: tuple[str, ...]
    without: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """A function call."""

    function: str
    args: tuple[Expr, ...]
    span: Span


Expr = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Paren
    | Unary
    | Binary
    | Aggregation
    | Call
)


def unwrap(expr: Expr) -> Expr:
    """The expression inside any parentheses."""
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


def duration_bearing(expr: Expr) -> VectorSelector | Subquery | None:
    """The node that offset and @ after this expression modify."""
    if isinstance(expr, MatrixSelector):
        return expr.selector
    return expr if isinstance(expr, VectorSelector | Subquery) else None
