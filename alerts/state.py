"""The life of alerts, decided purely: inactive, pending, firing, resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from . import template
from .rules import AlertRule

State = Literal["pending", "firing", "resolved"]
Sample = tuple[Mapping[str, str], float]
RESOLVED_KEPT_S = 15 * 60
ALERTS_PER_RULE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert: a rule and one label set of its expression."""

    labels: Mapping[str, str]
    """alertname included."""
    annotations: Mapping[str, str]
    state: State
    value: float
    active_at_s: float
    """When the expression first held, seconds since the epoch."""
    fired_at_s: float = 0.0
    last_seen_s: float = 0.0
    resolved_at_s: float = 0.0


Key = tuple[tuple[str, str], ...]
Alerts = Mapping[Key, Alert]


def advance(rule: AlertRule, alerts: Alerts, samples: Sequence[Sample], now_s: float) -> dict[Key, Alert]:
    """The rule's alerts after an evaluation at `now_s` that gave `samples`.

    Prometheus' semantics: `for` counts from the first sample, a pending alert without a sample is forgotten, a firing one is resolved
    after keep_firing_for, a resolved one that holds again starts anew.
    """
    after: dict[Key, Alert] = {}
    for labels, value in samples[:ALERTS_PER_RULE_MAX]:
        alert = _seen(rule, alerts, labels, value, now_s)
        after[_key(alert.labels)] = alert
    for key, alert in alerts.items():
        if key not in after:
            gone = _unseen(rule, alert, now_s)
            if gone is not None:
                after[key] = gone
    return after


def _seen(rule: AlertRule, alerts: Alerts, labels: Mapping[str, str], value: float, now_s: float) -> Alert:
    own = {name: text for name, text in labels.items() if name != "__name__"}
    extra = {name: template.expand(text, own, value) for name, text in rule.labels.items()}
    full = {name: text for name, text in {**own, **extra, "alertname": rule.name}.items() if text}
    notes = {name: template.expand(text, own, value) for name, text in rule.annotations.items()}
    before = alerts.get(_key(full))
    if before is None or before.state == "resolved":
        before = Alert(full, notes, "pending", value, now_s)
    alert = replace(before, labels=full, annotations=notes, value=value, last_seen_s=now_s)
    if alert.state == "pending" and now_s - alert.active_at_s >= rule.for_s:
        return replace(alert, state="firing", fired_at_s=now_s)
    return alert


def _unseen(rule: AlertRule, alert: Alert, now_s: float) -> Alert | None:
    if alert.state == "pending":
        return None
    if alert.state == "resolved":
        return alert if now_s - alert.resolved_at_s < RESOLVED_KEPT_S else None
    if now_s - alert.last_seen_s < rule.keep_firing_for_s:
        return alert
    return replace(alert, state="resolved", resolved_at_s=now_s)


def _key(labels: Mapping[str, str]) -> Key:
    return tuple(sorted(labels.items()))
