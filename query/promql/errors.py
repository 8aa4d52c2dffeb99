"""What can go wrong with a query, by whose fault it is."""

from __future__ import annotations


class PromqlError(Exception):
    """Any failure of a PromQL query; `str()` is one sentence for the user."""


class ParseError(PromqlError):
    """The text is not a valid query. Carries where: line and column count from 1, the column in characters."""

    def __init__(self, message: str, line: int, column: int) -> None:
        self.message = message
        self.line = line
        self.column = column
        super().__init__(f"{line}:{column}: parse error: {message}")


class UnsupportedError(PromqlError):
    """A valid query that this engine does not evaluate yet. Carries the construct's name."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is not supported yet")


class ExecutionError(PromqlError):
    """The query is valid, but not on this data or with these parameters, such as many-to-many matching."""


class LimitError(PromqlError):
    """The query would cost more than it may. Carries the limit."""

    def __init__(self, message: str, limit: int) -> None:
        self.limit = limit
        super().__init__(message)
