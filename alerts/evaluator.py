"""The rules role: evaluates groups at their interval, keeps their alerts across restarts, and notifies."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import structlog

from .errors import EvaluationError
from .notifier import Notifier
from .rules import AlertRule, RuleGroup
from .state import Alert, Key, Sample, advance

TICK_S = 0.25

Query = Callable[[str, int], Sequence[Sample]]
"""(expression, time in ms) -> the instant vector; raises EvaluationError."""


class Evaluator:
    """Owns the state of every rule; used by one thread."""

    def __init__(
        self,
        groups: Sequence[RuleGroup],
        query: Query,
        notifier: Notifier,
        state_file: Path,
        log: structlog.stdlib.BoundLogger,
        clock_s: Callable[[], float] = time.time,
        is_active: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_active`: whether this process is the one of several that evaluates now."""
        self._groups = groups
        self._query = query
        self._notifier = notifier
        self._state_file = state_file
        self._log = log
        self._clock_s = clock_s
        self._is_active = is_active
        self._alerts: dict[str, dict[Key, Alert]] = {}
        self._due_s = {group.key: 0.0 for group in groups}
        self.errors: dict[str, str] = {}
        self._saved = b""
        self._restore()

    def alerts(self) -> list[Alert]:
        """All alerts that are pending, firing or lately resolved."""
        return [alert for alerts in self._alerts.values() for alert in alerts.values()]

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Evaluate until told to stop."""
        while not stop.wait(TICK_S):
            beat()
            if self._is_active():
                self.turn()

    def turn(self) -> None:
        """Evaluate the groups that are due, then notify and save."""
        now_s = self._clock_s()
        for group in self._groups:
            if now_s >= self._due_s[group.key]:
                self._due_s[group.key] = (math.floor(now_s / group.interval_s) + 1) * group.interval_s
                for rule in group.rules:
                    self._evaluate(f"{group.key};{rule.name};{rule.expr}", rule, now_s)
        self._notifier.notify(self.alerts(), now_s)
        self._save()

    def _evaluate(self, key: str, rule: AlertRule, now_s: float) -> None:
        try:
            samples = self._query(rule.expr, round(now_s * 1000))
        except EvaluationError as error:
            if self.errors.get(key) != str(error):
                self._log.warning("rule not evaluated", alert=rule.name, error=str(error))
            self.errors[key] = str(error)
            return
        self.errors.pop(key, None)
        self._alerts[key] = advance(rule, self._alerts.get(key, {}), samples, now_s)

    def _save(self) -> None:
        kept = {
            key: [{f: getattr(alert, f) for f in Alert.__slots__} for alert in alerts.values()]
            for key, alerts in self._alerts.items()
        }
        data = orjson.dumps({"alerts": kept, "told": self._notifier.snapshot()})
        if data == self._saved:
            return
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._state_file.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._state_file)
        self._saved = data

    def _restore(self) -> None:
        try:
            document = orjson.loads(self._state_file.read_bytes())
            for key, alerts in document["alerts"].items():
                restored = [Alert(**alert) for alert in alerts]
                self._alerts[key] = {tuple(sorted(alert.labels.items())): alert for alert in restored}
            self._notifier.restore(document["told"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._alerts.clear()
            self._log.warning("the alerts' state could not be read, starting without", error=str(error))
