"""PromQL text to tokens."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from query.promql.errors import ParseError


class Kind(enum.Enum):
    """What a token is. Keywords are identifiers; the parser decides by position."""

    IDENTIFIER = "identifier"
    NUMBER = "number"
    DURATION = "duration"
    STRING = "string"
    OPERATOR = "operator"
    END = "end of input"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` as written (strings: unescaped), `start` and `end` as offsets in the query."""

    kind: Kind
    text: str
    start: int
    end: int


DURATION_UNITS_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}

_SKIP = re.compile(r"(?:\s+|#[^\n]*)+")
_DURATION = re.compile(r"(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?")
_DURATION_PART = re.compile(r"(\d+)([a-z]+)")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?")
_IDENTIFIER = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_IDENTIFIER_IN_BRACKETS = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"==|=~|=|!=|!~|<=|>=|</|>/|<|>|[-+*/%^(){}\[\],@:]")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE_ESCAPES = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
    "'": b"'",
    '"': b'"',
}


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both from 1."""
    line_start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - line_start + 1


def error_at(text: str, offset: int, message: str) -> ParseError:
    """The parse error of one place in the text."""
    line, column = position(text, offset)
    return ParseError(message, line, column)


def duration_ms(text: str) -> int:
    """Milliseconds of a duration literal such as 1h30m; the text must be one."""
    return sum(int(count) * DURATION_UNITS_MS[unit] for count, unit in _DURATION_PART.findall(text))


def number(text: str) -> float:
    """The value of a number literal: decimal, hexadecimal, with underscores between digits. Raises ValueError."""
    if "__" in text or text.endswith("_") or "_." in text or "._" in text:
        raise ValueError(text)
    plain = text.replace("_", "")
    return float(int(plain, 16)) if plain[:2].lower() == "0x" else float(plain)


def tokenize(text: str) -> list[Token]:
    """All tokens of a query, closed by one of kind END. Raises ParseError."""
    tokens: list[Token] = []
    at, brackets = 0, 0
    while True:
        if skipped := _SKIP.match(text, at):
            at = skipped.end()
        if at >= len(text):
            tokens.append(Token(Kind.END, "", len(text), len(text)))
            return tokens
        token = _token(text, at, brackets > 0)
        if token.kind is Kind.OPERATOR:
            brackets += (token.text == "[") - (token.text == "]")
        tokens.append(token)
        at = token.end


def _token(text: str, at: int, in_brackets: bool) -> Token:
    char = text[at]
    if char in "\"'`":
        return _string(text, at)
    if char.isdigit() or (char == "." and text[at + 1 : at + 2].isdigit()):
        return _numeric(text, at)
    pattern = _IDENTIFIER_IN_BRACKETS if in_brackets else _IDENTIFIER
    if found := pattern.match(text, at):
        return Token(Kind.IDENTIFIER, found.group(), at, found.end())
    if found := _OPERATOR.match(text, at):
        return Token(Kind.OPERATOR, found.group(), at, found.end())
    raise error_at(text, at, f"unexpected character: {char!r}")


def _numeric(text: str, at: int) -> Token:
    hexadecimal = text[at : at + 2].lower() == "0x"
    duration = _DURATION.match(text, at)
    if duration and duration.end() > at and not hexadecimal:
        token = Token(Kind.DURATION, duration.group(), at, duration.end())
    else:
        found = _NUMBER.match(text, at)
        if found is None:
            raise error_at(text, at, "bad number or duration syntax")
        token = Token(Kind.NUMBER, found.group(), at, found.end())
    following = text[token.end : token.end + 1]
    if following.isalnum() or following in {"_", "."}:
        raise error_at(text, at, f'bad number or duration syntax: "{text[at : token.end + 1]}"')
    return token


def _string(text: str, at: int) -> Token:
    found = _STRING.match(text, at)
    if found is None:
        raise error_at(text, at, "unterminated quoted string" if text[at] != "`" else "unterminated raw string")
    body = found.group()[1:-1]
    if text[at] != "`" and "\\" in body:
        body = _unescape(text, at, body)
    return Token(Kind.STRING, body, at, found.end())


def _unescape(text: str, at: int, body: str) -> str:
    """Escapes as Go's; bytes that are not UTF-8 survive as surrogates."""
    parts: list[bytes] = []
    done = 0
    for found in _ESCAPE.finditer(body):
        parts.append(body[done : found.start()].encode())
        done = found.end()
        byte, short, long, octal, simple = found.groups()
        code = short or long
        if byte:
            parts.append(bytes([int(byte, 16)]))
        elif octal:
            parts.append(bytes([int(octal, 8) & 255]))
        elif code and int(code, 16) < 0x110000:
            parts.append(chr(int(code, 16)).encode("utf-8", "surrogatepass"))
        elif simple in _SIMPLE_ESCAPES and not (simple in "\"'" and simple != text[at]):
            parts.append(_SIMPLE_ESCAPES[simple])
        else:
            raise error_at(text, at + 1 + found.start(), f"unknown escape sequence {found.group()!r}")
    parts.append(body[done:].encode())
    return b"".join(parts).decode("utf-8", "surrogateescape")
