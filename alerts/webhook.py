"""Notifications as Alertmanager's webhook sends them, version 4."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from .state import Alert

RECEIVER = "default"
ANSWER_BYTES_MAX = 64 * 1024
_NEVER = "0001-01-01T00:00:00Z"


class DeliveryError(Exception):
    """The receiver did not take the notification; it is sent again later."""


def body(alerts: Sequence[Alert], group_labels: Mapping[str, str], external_url: str) -> dict[str, Any]:
    """The JSON body of one group: firing when any of its alerts fires."""
    firing = [a for a in alerts if a.state == "firing"]
    return {
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f'{k}="{v}"' for k, v in sorted(group_labels.items())) + "}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": RECEIVER,
        "groupLabels": dict(group_labels),
        "commonLabels": _common([a.labels for a in alerts]),
        "commonAnnotations": _common([a.annotations for a in alerts]),
        "externalURL": external_url,
        "alerts": [_alert(a, external_url) for a in alerts],
    }


def post(url: str, document: Mapping[str, Any], timeout_s: float) -> None:
    """Send it; any 2xx is success. Raises DeliveryError."""
    parts = urlsplit(url)
    data = orjson.dumps(document)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout_s, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, data, {"Content-Type": "application/json", "User-Agent": "Heliograph"})
        answer = connection.getresponse()
        answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryError(f"{parts.hostname}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise DeliveryError(f"{parts.hostname}: answered {answer.status}")


def _alert(alert: Alert, external_url: str) -> dict[str, Any]:
    key = "\xff".join(f"{k}\xfe{v}" for k, v in sorted(alert.labels.items()))
    return {
        "status": alert.state,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": _rfc3339(alert.fired_at_s),
        "endsAt": _rfc3339(alert.resolved_at_s) if alert.state == "resolved" else _NEVER,
        "generatorURL": external_url,
        "fingerprint": hashlib.sha256(key.encode()).hexdigest()[:16],
    }


def _common(maps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *rest = maps
    return {k: v for k, v in first.items() if all(m.get(k) == v for m in rest)}


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
