"""The grammar: precedence, positions, and what errors say."""

from __future__ import annotations

import pytest

from query.promql import ast
from query.promql.errors import ParseError, PromqlError, UnsupportedError
from query.promql.parser import parse
from tsdb.samples import Match, Matcher


def shape(expr: ast.Expr) -> str:
    """A tree as text with every operation in parentheses."""
    match expr:
        case ast.Binary(op=op, left=left, right=right):
            return f"({shape(left)} {op} {shape(right)})"
        case ast.Unary(op=op, expr=inner):
            return f"({op}{shape(inner)})"
        case ast.Paren(expr=inner):
            return shape(inner)
        case ast.NumberLiteral(value=value):
            return f"{value:g}"
        case ast.VectorSelector(matchers=matchers):
            return matchers[0].value
        case _:
            return type(expr).__name__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 * 2 + 3", "((1 * 2) + 3)"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
        ("-2 ^ 2", "(-(2 ^ 2))"),
        ("-a * b", "((-a) * b)"),
        ("2 ^ -1 * 3", "((2 ^ -1) * 3)"),
        ("a or b and c unless d", "(a or ((b and c) unless d))"),
        ("a AND b Or c", "((a and b) or c)"),
        ("a + b > c * d", "((a + b) > (c * d))"),
        ("a atan2 b + c", "((a atan2 b) + c)"),
        ("(a + b) * c", "((a + b) * c)"),
    ],
)
def test_operators_bind_as_prometheus_says(text: str, expected: str) -> None:
    assert shape(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.34e-6", 12.34e-6),
        (".5", 0.5),
        ("5.", 5.0),
        ("0x1F", 31.0),
        ("1_000", 1000.0),
        ("0x_53", 83.0),
        ("1h30m", 5400.0),
        ("5ms", 0.005),
        ("Inf", float("inf")),
        ("-inf", float("-inf")),
    ],
)
def test_number_literals(text: str, value: float) -> None:
    parsed = parse(text)
    assert isinstance(parsed, ast.NumberLiteral)
    assert parsed.value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\"b\n\t\\"', 'a"b\n\t\\'),
        (r"'it\'s'", "it's"),
        (r"`raw \n`", r"raw \n"),
        (r'"\x41\u00e4\101"', "AäA"),
        ('"käse"', "käse"),
    ],
)
def test_string_literals(text: str, value: str) -> None:
    parsed = parse(text)
    assert isinstance(parsed, ast.StringLiteral)
    assert parsed.value == value


def test_a_selector_keeps_its_matchers_in_order() -> None:
    parsed = parse('http_total{job="a", env!="b", path=~"c.*", code!~`5..`,}')
    assert isinstance(parsed, ast.VectorSelector)
    assert parsed.matchers == (
        Matcher("__name__", Match.EQUAL, "http_total"),
        Matcher("job", Match.EQUAL, "a"),
        Matcher("env", Match.NOT_EQUAL, "b"),
        Matcher("path", Match.REGEX, "c.*"),
        Matcher("code", Match.NOT_REGEX, "5.."),
    )


def test_quoted_names_may_be_any_utf8() -> None:
    parsed = parse('{"http.requests", "service.name"="käse"}')
    assert isinstance(parsed, ast.VectorSelector)
    assert parsed.matchers == (
        Matcher("__name__", Match.EQUAL, "http.requests"),
        Matcher("service.name", Match.EQUAL, "käse"),
    )


def test_words_of_the_language_may_name_metrics_and_labels() -> None:
    assert shape(parse("sum + by")) == "(sum + by)"
    parsed = parse("sum by (on, group_left) (offset)")
    assert isinstance(parsed, ast.Aggregation)
    assert parsed.grouping == ("on", "group_left")


def test_grouping_may_stand_before_or_after() -> None:
    before, after = parse("sum without (a) (x)"), parse("sum(x) without (a)")
    assert isinstance(before, ast.Aggregation)
    assert isinstance(after, ast.Aggregation)
    assert (before.grouping, before.without) == (after.grouping, after.without) == (("a",), True)


def test_offset_and_at_come_in_any_order() -> None:
    for text in ("x[5m] offset -1m @ 10.5", "x[5m] @ 10.5 offset -1m"):
        parsed = parse(text)
        assert isinstance(parsed, ast.MatrixSelector)
        assert parsed.selector.at == 10_500
        assert isinstance(parsed.selector.offset, ast.Unary)


def test_a_subquery_keeps_range_and_step() -> None:
    parsed = parse("rate(x[1m])[1h:30s] @ end()")
    assert isinstance(parsed, ast.Subquery)
    assert isinstance(parsed.step, ast.NumberLiteral)
    assert parsed.step.value == 30
    assert parsed.at is ast.AtBound.END


def test_matching_keeps_labels_and_direction() -> None:
    parsed = parse("a * on (x, y) group_right (z) b")
    assert isinstance(parsed, ast.Binary)
    assert parsed.matching == ast.Matching(ast.Cardinality.ONE_TO_MANY, True, ("x", "y"), ("z",))


def test_every_node_knows_where_it_stands() -> None:
    text = "sum(rate(x[5m]))  / 2"
    parsed = parse(text)
    assert isinstance(parsed, ast.Binary)
    assert text[parsed.left.span.start : parsed.left.span.end] == "sum(rate(x[5m]))"
    assert isinstance(parsed.left, ast.Aggregation)
    inner = parsed.left.expr
    assert text[inner.span.start : inner.span.end] == "rate(x[5m])"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: parse error: no expression found in input"),
        ("rate(x)", '1:6: parse error: expected type range vector in call to function "rate", got instant vector'),
        ("a +\n  nope(1)", '2:3: parse error: unknown function with name "nope"'),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ('{a=~".*"}', "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("1 == 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a and 1", '1:1: parse error: set operator "and" not allowed in binary scalar expression'),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("abs()", '1:1: parse error: expected 1 argument(s) in call to "abs", got 0'),
        ("round(a, 1, 2)", '1:1: parse error: expected at most 2 argument(s) in call to "round", got 3'),
        ('label_join(a, "b")', '1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 2'),
        ("a * on (x) group_left (x) b", '1:3: parse error: label "x" must not occur in ON and GROUP clause at once'),
        ("a and on (x) group_left b", '1:1: parse error: no grouping allowed for "and" operation'),
        ("1 + on (x) b", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("x[0s]", "1:3: parse error: duration must be greater than 0"),
        ("(a + b)[5m]", "1:8: parse error: ranges only allowed for vector selectors"),
        ("x offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ('x{a="b"', "1:8: parse error: unexpected end of input inside braces"),
        ('x{a=~"("}', "1:3: parse error: error parsing regexp: missing ): ("),
        ('"abc', "1:1: parse error: unterminated quoted string"),
        ("5mm", '1:1: parse error: bad number or duration syntax: "5mm"'),
        ("a ? b", "1:3: parse error: unexpected character: '?'"),
        ("sum(a", "1:6: parse error: unclosed left parenthesis"),
        ("x[5m", "1:5: parse error: unclosed left bracket"),
        ("a)", "1:3: parse error: unexpected right parenthesis ')'"),
        ("a +* b", "1:4: parse error: unexpected <op:*>"),
        ("a group_left b", "1:3: parse error: unexpected <group_left>"),
        ("by(a)", '1:3: parse error: unexpected "("'),
        ("abs(a,)", "1:6: parse error: trailing commas not allowed in function call args"),
        ('x{a="b" c="d"}', '1:9: parse error: unexpected identifier "c" in label matching, expected "," or "}"'),
        ('x{__name__="y"}', '1:1: parse error: metric name must not be set twice: "x" or "y"'),
        ("topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"),
        ("x offset", "1:9: parse error: unexpected end of input in offset, expected duration"),
        ("a b", '1:3: parse error: unexpected identifier "b"'),
    ],
)
def test_a_parse_error_says_where_and_why(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["h </ 2", "rate(x[5m] smoothed)", "a + fill(0) b"])
def test_known_grammar_that_is_not_evaluated_says_so(text: str) -> None:
    with pytest.raises(UnsupportedError, match="is not supported yet"):
        parse(text)


@pytest.mark.parametrize("text", ["(" * 5000 + "1" + ")" * 5000, "-" * 5000 + "x", "1" + "+1" * 5000, "abs(" * 5000])
def test_deep_nesting_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(PromqlError, match="nests deeper"):
        parse(text)
