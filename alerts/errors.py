"""Errors of alerting.

AlertsError
├── RuleFileError     the author's fault: the file is not a rule file; says where
└── EvaluationError   a rule could not be evaluated now; the message is shown beside the rule
"""


class AlertsError(Exception):
    """Anything this package raises."""


class RuleFileError(AlertsError):
    """The file is not a Prometheus rule file; `path` and `where` say which part."""

    def __init__(self, path: str, where: str, detail: str) -> None:
        super().__init__(f"{path}: {where}: {detail}" if where else f"{path}: {detail}")
        self.path = path
        self.where = where


class EvaluationError(AlertsError):
    """A rule's expression could not be evaluated now."""
