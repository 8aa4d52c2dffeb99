"""The parser's lower half: tokens, label lists, vector selectors."""

from __future__ import annotations

from typing import NoReturn

from query.promql import ast
from query.promql.ast import Span
from query.promql.lexer import Kind, Token, error_at
from query.promql.regex import InvalidRegexError, anchored
from tsdb.samples import Match, Matcher

KEYWORDS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"})
"""Words that an error names as such."""

_UNCLOSED = {
    "(": "unclosed left parenthesis",
    "[": "unclosed left bracket",
    "{": "unexpected end of input inside braces",
}
_PUNCTUATION = frozenset({"(", ")", "[", "]", "{", "}", ",", ":", "=", "@"})
_MATCH_OPERATORS = frozenset(match.value for match in Match)


def matches_empty(matcher: Matcher) -> bool:
    """Whether a series without the label passes. The regular expression is valid."""
    match matcher.op:
        case Match.EQUAL:
            return matcher.value == ""
        case Match.NOT_EQUAL:
            return matcher.value != ""
        case Match.REGEX:
            return anchored(matcher.value).fullmatch("") is not None
        case Match.NOT_REGEX:
            return anchored(matcher.value).fullmatch("") is None


class Selectors:
    """A cursor over tokens, with what can be parsed without knowing expressions."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self._tokens = tokens
        self._next = 0

    def peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def advance(self) -> Token:
        token = self.peek()
        self._next += 1
        return token

    def previous_end(self) -> int:
        return self._tokens[self._next - 1].end

    def at_operator(self, text: str) -> bool:
        token = self.peek()
        return token.kind is Kind.OPERATOR and token.text == text

    def accept_word(self, word: str) -> bool:
        token = self.peek()
        if token.kind is Kind.IDENTIFIER and token.text.lower() == word:
            self.advance()
            return True
        return False

    def expect(self, text: str, context: str) -> Token:
        if not self.at_operator(text):
            self.unexpected(f'{context}, expected "{text}"')
        return self.advance()

    def fail(self, token: Token, message: str) -> NoReturn:
        raise error_at(self.text, token.start, message)

    def fail_at(self, offset: int, message: str) -> NoReturn:
        raise error_at(self.text, offset, message)

    def unexpected(self, context: str) -> NoReturn:
        token = self.peek()
        if token.kind is Kind.END and (opened := self._innermost_open()):
            self.fail(token, _UNCLOSED[opened])
        self.fail(token, f"unexpected {self._shown(token)} {context}".rstrip())

    def _innermost_open(self) -> str | None:
        opened: list[str] = []
        for token in self._tokens:
            if token.kind is Kind.OPERATOR and token.text in _UNCLOSED:
                opened.append(token.text)
            elif token.kind is Kind.OPERATOR and token.text in ")]}" and opened:
                opened.pop()
        return opened[-1] if opened else None

    def _shown(self, token: Token) -> str:
        """A token as Prometheus names it."""
        if token.kind is Kind.END:
            return "end of input"
        if token.kind is Kind.STRING:
            return f'string "{self.text[token.start : token.end]}"'
        if token.kind is not Kind.OPERATOR:
            word = token.text.lower()
            return f"<{word}>" if word in KEYWORDS else f'{token.kind.value} "{token.text}"'
        return f'"{token.text}"' if token.text in _PUNCTUATION else f"<op:{token.text}>"

    def label_list(self) -> tuple[str, ...]:
        self.expect("(", "in grouping opts")
        labels: list[str] = []
        while not self.at_operator(")"):
            token = self.peek()
            if token.kind not in (Kind.IDENTIFIER, Kind.STRING) or ":" in token.text:
                self.unexpected("in grouping opts, expected label")
            labels.append(self.advance().text)
            if not self.at_operator(")"):
                self._comma("in grouping opts", ")")
        self.advance()
        return tuple(labels)

    def _comma(self, context: str, closing: str) -> None:
        if not self.at_operator(","):
            self.unexpected(f'{context}, expected "," or "{closing}"')
        self.advance()

    def vector_selector(self, name: Token | None) -> ast.VectorSelector:
        """From the braces on, the name being read; without a name the braces must be there."""
        start = self.peek().start if name is None else name.start
        names = [] if name is None else [name.text]
        matchers = [Matcher("__name__", Match.EQUAL, own) for own in names]
        if self.at_operator("{"):
            self.advance()
            while not self.at_operator("}"):
                matcher, is_name = self._matcher()
                names.extend([matcher.value] if is_name else [])
                matchers.append(matcher)
                if not self.at_operator("}"):
                    self._comma("in label matching", "}")
            self.advance()
        again = [matcher.value for matcher in matchers if matcher.name == "__name__"]
        if names and len(again) > 1:
            self.fail_at(start, f'metric name must not be set twice: "{again[0]}" or "{again[1]}"')
        if all(matches_empty(matcher) for matcher in matchers):
            self.fail_at(start, "vector selector must contain at least one non-empty matcher")
        return ast.VectorSelector(tuple(matchers), Span(start, self.previous_end()))

    def _matcher(self) -> tuple[Matcher, bool]:
        """A matcher, and whether it is a quoted metric name."""
        label = self.peek()
        if label.kind not in (Kind.IDENTIFIER, Kind.STRING) or (label.kind is Kind.IDENTIFIER and ":" in label.text):
            self.unexpected('in label matching, expected identifier or "}"')
        self.advance()
        op = self.peek()
        if label.kind is Kind.STRING and op.text in (",", "}"):
            return Matcher("__name__", Match.EQUAL, label.text), True
        if op.kind is not Kind.OPERATOR or op.text not in _MATCH_OPERATORS:
            self.unexpected("in label matching, expected label matching operator")
        self.advance()
        value = self.peek()
        if value.kind is not Kind.STRING:
            self.unexpected("in label matching, expected string")
        self.advance()
        matcher = Matcher(label.text, Match(op.text), value.text)
        if matcher.op in (Match.REGEX, Match.NOT_REGEX):
            self._check_regex(value, label)
        return matcher, False

    def _check_regex(self, token: Token, blamed: Token) -> None:
        try:
            anchored(token.text)
        except InvalidRegexError as failure:
            raise error_at(self.text, blamed.start, f"error parsing regexp: {failure}") from None
