"""PromQL text to a checked syntax tree: a Pratt parser."""

from __future__ import annotations

import dataclasses

from query.promql import ast
from query.promql.ast import Cardinality, Matching, Span, ValueType
from query.promql.durations import check_duration
from query.promql.errors import UnsupportedError
from query.promql.lexer import Kind, Token, duration_ms, error_at, number, tokenize
from query.promql.selectors import KEYWORDS, Selectors
from query.promql.signatures import COMPARISONS, FUNCTIONS, PARAMETER_TYPES, SET_OPERATORS
from query.promql.typecheck import complaint, type_of

_PRECEDENCE = {
    "or": 1,
    "and": 2,
    "unless": 2,
    **dict.fromkeys(COMPARISONS, 3),
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
    "atan2": 5,
    "^": 6,
}
_UNARY_PRECEDENCE = 5
_RIGHT_ASSOCIATIVE = frozenset({"^"})
_DEPTH_MAX = 100
_NAMED_NUMBERS = ("inf", "nan")


def parse(text: str) -> ast.Expr:
    """The tree of a query. Raises ParseError, or UnsupportedError for grammar that is known but not evaluated."""
    parser = _Parser(text, tokenize(text))
    if parser.peek().kind is Kind.END:
        raise error_at(text, 0, "no expression found in input")
    expr = parser.expression(0, 0)
    if parser.at_operator(")"):
        raise error_at(text, parser.peek().end, "unexpected right parenthesis ')'")
    if parser.peek().kind is not Kind.END:
        parser.unexpected("")
    return expr


class _Parser(Selectors):
    """Expressions; the parts that look at no expression are inherited."""

    def expression(self, precedence: int, depth: int) -> ast.Expr:
        if depth > _DEPTH_MAX:
            self.fail(self.peek(), f"query nests deeper than {_DEPTH_MAX} levels")
        left = self._operand(depth)
        while (op := self._binary_operator()) is not None and _PRECEDENCE[op] > precedence:
            depth += 1
            if depth > _DEPTH_MAX:
                self.fail(self.peek(), f"query nests deeper than {_DEPTH_MAX} levels")
            operator = self.advance()
            return_bool = self.accept_word("bool")
            matching: Matching | None = self._matching(op)
            below = _PRECEDENCE[op] - (op in _RIGHT_ASSOCIATIVE)
            right = self.expression(below, depth)
            span = Span(left.span.start, right.span.end)
            if ValueType.SCALAR in (type_of(left), type_of(right)) and matching == _plain_matching(op):
                matching = None
            left = self._checked(ast.Binary(op, left, right, span, return_bool, matching), operator.start)
        return left

    def _binary_operator(self) -> str | None:
        token = self.peek()
        if token.kind is Kind.OPERATOR and token.text in ("</", ">/"):
            raise UnsupportedError(f"the operator {token.text}")
        if token.kind is Kind.OPERATOR and token.text in _PRECEDENCE:
            return token.text
        word = token.text.lower()
        if token.kind is Kind.IDENTIFIER and word in _PRECEDENCE:
            return word
        return None

    def _matching(self, op: str) -> Matching:
        matching = _plain_matching(op)
        word = self.peek().text.lower() if self.peek().kind is Kind.IDENTIFIER else ""
        if word in ("on", "ignoring"):
            self.advance()
            matching = dataclasses.replace(matching, on=word == "on", labels=self.label_list())
            word = self.peek().text.lower() if self.peek().kind is Kind.IDENTIFIER else ""
            if word in ("group_left", "group_right"):
                self.advance()
                many = Cardinality.MANY_TO_ONE if word == "group_left" else Cardinality.ONE_TO_MANY
                include = self.label_list() if self.at_operator("(") else ()
                matching = dataclasses.replace(matching, cardinality=many, include=include)
                word = self.peek().text.lower() if self.peek().kind is Kind.IDENTIFIER else ""
        if word in ("fill", "fill_left", "fill_right") and self.peek(1).text == "(":
            raise UnsupportedError(f"the modifier {word}")
        return matching

    def _operand(self, depth: int) -> ast.Expr:
        token = self.peek()
        if self.at_operator("+") or self.at_operator("-"):
            self.advance()
            operand = self.expression(_UNARY_PRECEDENCE, depth + 1)
            span = Span(token.start, operand.span.end)
            if isinstance(operand, ast.NumberLiteral):
                return ast.NumberLiteral(-operand.value if token.text == "-" else operand.value, span)
            return self._checked(ast.Unary(token.text, operand, span))
        expr = self._primary(token, depth)
        while (modified := self._modified(expr, depth)) is not None:
            expr = modified
        return expr

    def _primary(self, token: Token, depth: int) -> ast.Expr:
        if token.kind is Kind.STRING:
            self.advance()
            return ast.StringLiteral(token.text, Span(token.start, token.end))
        if token.kind in (Kind.NUMBER, Kind.DURATION):
            self.advance()
            return ast.NumberLiteral(self._number(token), Span(token.start, token.end))
        if self.at_operator("("):
            self.advance()
            inner = self.expression(0, depth + 1)
            closing = self.expect(")", "in paren expression")
            return ast.Paren(inner, Span(token.start, closing.end))
        if self.at_operator("{"):
            return self.vector_selector(None)
        if token.kind is not Kind.IDENTIFIER:
            self.unexpected("")
        return self._named(token, depth)

    def _number(self, token: Token) -> float:
        try:
            return duration_ms(token.text) / 1000 if token.kind is Kind.DURATION else number(token.text)
        except (ValueError, OverflowError):
            raise error_at(self.text, token.start, f'bad number or duration syntax: "{token.text[:40]}"') from None

    def _named(self, token: Token, depth: int) -> ast.Expr:
        word = token.text.lower()
        following = self.peek(1)
        called = following.kind is Kind.OPERATOR and following.text == "("
        grouped = following.kind is Kind.IDENTIFIER and following.text.lower() in ("by", "without")
        if word in PARAMETER_TYPES and (called or grouped):
            return self._aggregation(word, depth)
        if called and word in KEYWORDS:
            self.advance()
            self.unexpected("")
        if called:
            return self._call(token, depth)
        self.advance()
        if word in _NAMED_NUMBERS:
            return ast.NumberLiteral(float(word), Span(token.start, token.end))
        return self.vector_selector(token)

    def _aggregation(self, op: str, depth: int) -> ast.Expr:
        start = self.advance().start
        grouping, without, modified = self._grouping()
        args, end = self._arguments(depth, f"in {op} aggregation")
        if not modified:
            grouping, without, modified = self._grouping()
            end = self.previous_end() if modified else end
        span = Span(start, end)
        if not args:
            self.fail_at(span.start, "no arguments for aggregate expression provided")
        if len(args) > 2:
            wanted = 1 if PARAMETER_TYPES[op] is None else 2
            self.fail_at(
                span.start,
                f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {len(args)}",
            )
        param = args[0] if len(args) == 2 else None
        return self._checked(ast.Aggregation(op, args[-1], param, grouping, without, span))

    def _grouping(self) -> tuple[tuple[str, ...], bool, bool]:
        for word in ("by", "without"):
            if self.accept_word(word):
                return self.label_list(), word == "without", True
        return (), False, False

    def _call(self, token: Token, depth: int) -> ast.Expr:
        if token.text not in FUNCTIONS:
            self.fail(token, f'unknown function with name "{token.text}"')
        self.advance()
        args, end = self._arguments(depth, "in function call")
        return self._checked(ast.Call(token.text, tuple(args), Span(token.start, end)))

    def _arguments(self, depth: int, context: str) -> tuple[list[ast.Expr], int]:
        self.expect("(", context)
        args: list[ast.Expr] = []
        while not self.at_operator(")"):
            args.append(self.expression(0, depth + 1))
            if not self.at_operator(")"):
                comma = self.expect(",", context)
                if self.at_operator(")"):
                    self.fail(comma, "trailing commas not allowed in function call args")
        return args, self.advance().end

    def _modified(self, expr: ast.Expr, depth: int) -> ast.Expr | None:
        if self.at_operator("["):
            return self._ranged(expr, depth)
        if self.at_operator("@"):
            self.advance()
            return self._at(expr)
        token = self.peek()
        if token.kind is not Kind.IDENTIFIER:
            return None
        if token.text.lower() == "offset":
            self.advance()
            return self._offset(expr, depth)
        if token.text in ("anchored", "smoothed"):
            raise UnsupportedError(f"the modifier {token.text}")
        return None

    def _ranged(self, expr: ast.Expr, depth: int) -> ast.Expr:
        bracket = self.advance()
        width = self._duration(depth, positive=True)
        if self.at_operator(":"):
            self.advance()
            step = None if self.at_operator("]") else self._duration(depth, positive=True)
            closing = self.expect("]", "in subquery selector")
            return self._checked(ast.Subquery(expr, width, step, Span(expr.span.start, closing.end)))
        closing = self.expect("]", "in range selector")
        if not isinstance(expr, ast.VectorSelector):
            self.fail_at(bracket.start, "ranges only allowed for vector selectors")
        if expr.offset is not None:
            self.fail_at(bracket.start, "no offset modifiers allowed before range")
        if expr.at is not None:
            self.fail_at(bracket.start, "no @ modifiers allowed before range")
        return ast.MatrixSelector(expr, width, Span(expr.span.start, closing.end))

    def _duration(self, depth: int, *, positive: bool) -> ast.Expr:
        expr = self.expression(0, depth + 1)
        if reason := check_duration(expr, positive=positive):
            self.fail_at(expr.span.start, reason)
        return expr

    def _offset(self, expr: ast.Expr, depth: int) -> ast.Expr:
        target = ast.duration_bearing(expr)
        if target is None:
            self.fail_at(
                expr.span.start,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            )
        if target.offset is not None:
            self.fail_at(expr.span.start, "offset may not be set multiple times")
        sign = self.peek()
        negative = self.at_operator("-")
        if negative or self.at_operator("+"):
            self.advance()
        token = self.peek()
        if token.kind is Kind.END:
            self.unexpected("in offset, expected duration")
        offset = self._primary(token, depth + 1)
        if reason := check_duration(offset, positive=False):
            self.fail_at(offset.span.start, reason)
        if negative:
            offset = ast.Unary("-", offset, Span(sign.start, offset.span.end))
        return _with_modifier(expr, dataclasses.replace(target, offset=offset), self.previous_end())

    def _at(self, expr: ast.Expr) -> ast.Expr:
        target = ast.duration_bearing(expr)
        if target is None:
            self.fail_at(
                expr.span.start,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            )
        if target.at is not None:
            self.fail_at(expr.span.start, "@ <timestamp> may not be set multiple times")
        return _with_modifier(expr, dataclasses.replace(target, at=self._at_time()), self.previous_end())

    def _at_time(self) -> int | ast.AtBound:
        token = self.peek()
        if token.kind is Kind.IDENTIFIER and token.text.lower() in ("start", "end"):
            self.advance()
            self.expect("(", "in @")
            self.expect(")", "in @")
            return ast.AtBound(token.text.lower())
        sign = -1 if self.at_operator("-") else 1
        if self.at_operator("-") or self.at_operator("+"):
            self.advance()
        token = self.peek()
        if token.kind not in (Kind.NUMBER, Kind.DURATION):
            self.unexpected("in @, expected timestamp")
        self.advance()
        seconds = sign * self._number(token)
        if abs(seconds) > 9.2e15:
            self.fail(token, "timestamp out of bounds for @ modifier")
        return round(seconds * 1000)

    def _checked(self, node: ast.Expr, blamed: int | None = None) -> ast.Expr:
        found = complaint(node)
        if found is not None:
            default = node.span.start if blamed is None else blamed
            self.fail_at(default if found.start is None else found.start, found.message)
        return node


def _plain_matching(op: str) -> Matching:
    many = Cardinality.MANY_TO_MANY if op in SET_OPERATORS else Cardinality.ONE_TO_ONE
    return Matching(many, False, ())


def _with_modifier(expr: ast.Expr, target: ast.VectorSelector | ast.Subquery, end: int) -> ast.Expr:
    span = Span(expr.span.start, end)
    if isinstance(expr, ast.MatrixSelector):
        assert isinstance(target, ast.VectorSelector)
        return dataclasses.replace(expr, selector=target, span=span)
    return dataclasses.replace(target, span=span)
