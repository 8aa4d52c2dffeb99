"""Which groups of alerts to tell a webhook about, and when to tell it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from .state import Alert
from .webhook import DeliveryError, body

REPEAT_S = 4 * 3600.0
RETRY_S = 5.0

Post = Callable[[str, Mapping[str, Any]], None]


@dataclass(slots=True)
class _Told:
    """What a receiver last took of a group."""

    states: frozenset[tuple[str, str]] = frozenset()
    at_s: float = 0.0
    retry_at_s: float = 0.0


@dataclass(slots=True)
class Notifier:
    """Groups alerts by name and posts a group when it changed, or every REPEAT_S while it fires; failures are tried again."""

    urls: Sequence[str]
    external_url: str
    post: Post
    log: structlog.stdlib.BoundLogger
    _told: dict[tuple[str, str], _Told] = field(default_factory=dict)

    def notify(self, alerts: Sequence[Alert], now_s: float) -> int:
        """Post what is due; returns how many posts failed."""
        groups: dict[str, list[Alert]] = {}
        for alert in alerts:
            if alert.state != "pending":
                groups.setdefault(alert.labels["alertname"], []).append(alert)
        failed = 0
        for url in self.urls:
            for name, members in sorted(groups.items()):
                failed += not self._tell(url, name, members, now_s)
        for key in [key for key in self._told if key[1] not in groups]:
            del self._told[key]
        return failed

    def restore(self, told: Sequence[tuple[str, str, Sequence[tuple[str, str]], float]]) -> None:
        """Take up what an earlier process had told."""
        for url, name, states, at_s in told:
            self._told[(url, name)] = _Told(frozenset((k, s) for k, s in states), at_s)

    def snapshot(self) -> list[tuple[str, str, list[tuple[str, str]], float]]:
        """What restore() takes."""
        return [(url, name, sorted(t.states), t.at_s) for (url, name), t in self._told.items()]

    def _tell(self, url: str, name: str, members: Sequence[Alert], now_s: float) -> bool:
        told = self._told.setdefault((url, name), _Told())
        states = frozenset((repr(sorted(a.labels.items())), a.state) for a in members)
        firing = any(a.state == "firing" for a in members)
        heard_of = bool(told.states) or firing
        due = heard_of and (states != told.states or (firing and now_s - told.at_s >= REPEAT_S))
        if not due or now_s < told.retry_at_s:
            return True
        try:
            self.post(url, body(members, {"alertname": name}, self.external_url))
        except DeliveryError as error:
            told.retry_at_s = now_s + RETRY_S
            self.log.warning("webhook failed, will try again", alert=name, error=str(error))
            return False
        told.states, told.at_s, told.retry_at_s = states, now_s, 0.0
        return True
