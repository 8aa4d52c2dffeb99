"""Prometheus rule files: groups of alerting rules, read as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import RuleFileError

FILE_BYTES_MAX = 4 * 1024 * 1024
_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}
_GROUP_KEYS = {"name", "interval", "rules", "limit", "labels", "query_offset"}
_RULE_KEYS = {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule."""

    name: str
    expr: str
    for_s: float
    keep_firing_for_s: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated one after the other at the same time."""

    file: str
    name: str
    interval_s: float
    rules: tuple[AlertRule, ...]
    not_evaluated: tuple[str, ...]
    """Recording rules, which are read and not evaluated yet; by name."""

    @property
    def key(self) -> str:
        """Distinct among all groups."""
        return f"{self.file};{self.name}"


def load(path: Path, default_interval_s: float, check: Callable[[str], None]) -> list[RuleGroup]:
    """The groups of one file; `check` raises on an expression that does not parse. Raises RuleFileError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise RuleFileError(str(path), "", f"larger than {FILE_BYTES_MAX} bytes")
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RuleFileError(str(path), "", f"cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise RuleFileError(str(path), "", f"not YAML: {error}") from error
    if document is None:
        return []
    reader = _Reader(str(path), check)
    reader.only(document, {"groups"}, "top level")
    groups = [reader.group(entry, i, default_interval_s) for i, entry in enumerate(document.get("groups") or [])]
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise RuleFileError(str(path), f"group {name!r}", "the name is used twice in this file")
    return groups


@dataclass(frozen=True, slots=True)
class _Reader:
    path: str
    check: Callable[[str], None]

    def only(self, entry: Any, allowed: set[str], where: str) -> None:
        if not isinstance(entry, dict):
            raise RuleFileError(self.path, where, "a mapping is expected")
        for key in entry:
            if key not in allowed:
                raise RuleFileError(self.path, where, f"unknown key {key!r}; known are {', '.join(sorted(allowed))}")

    def group(self, entry: Any, index: int, default_interval_s: float) -> RuleGroup:
        where = f"group {index + 1}"
        self.only(entry, _GROUP_KEYS, where)
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            raise RuleFileError(self.path, where, "a name is missing")
        where = f"group {name!r}"
        interval_s = self.duration(entry.get("interval"), default_interval_s, where)
        rules, recorded = [], []
        for i, rule in enumerate(entry.get("rules") or []):
            place = f"{where}, rule {i + 1}"
            self.only(rule, _RULE_KEYS, place)
            if "record" in rule:
                recorded.append(str(rule["record"]))
            else:
                rules.append(self.rule(rule, place, self.texts(entry.get("labels"), where)))
        return RuleGroup(self.path, name, interval_s, tuple(rules), tuple(recorded))

    def rule(self, entry: Mapping[str, Any], where: str, group_labels: Mapping[str, str]) -> AlertRule:
        name, expr = entry.get("alert"), entry.get("expr")
        if not isinstance(name, str) or not name:
            raise RuleFileError(self.path, where, "one of alert and record is needed")
        if not isinstance(expr, str | int | float):
            raise RuleFileError(self.path, where, "an expr is missing")
        try:
            self.check(str(expr))
        except Exception as error:  # the parser is passed in, and with it its errors
            raise RuleFileError(self.path, f"{where} ({name})", f"expr: {error}") from error
        for_s = self.duration(entry.get("for"), 0.0, where)
        keep_s = self.duration(entry.get("keep_firing_for"), 0.0, where)
        labels = {**group_labels, **self.texts(entry.get("labels"), where)}
        return AlertRule(name, str(expr), for_s, keep_s, labels, self.texts(entry.get("annotations"), where))

    def texts(self, entry: Any, where: str) -> dict[str, str]:
        if entry is None:
            return {}
        if not isinstance(entry, dict):
            raise RuleFileError(self.path, where, "labels and annotations are mappings of text")
        return {str(key): str(value) for key, value in entry.items()}

    def duration(self, value: Any, default_s: float, where: str) -> float:
        if value is None:
            return default_s
        parts = _DURATION.findall(str(value))
        if str(value) == "0":
            return 0.0
        if not parts or "".join(n + u for n, u in parts) != str(value):
            raise RuleFileError(self.path, where, f"{value!r} is not a duration such as 30s or 1h30m")
        return float(sum(int(n) * _UNIT_S[u] for n, u in parts))
