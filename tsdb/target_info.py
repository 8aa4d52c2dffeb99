"""`target_info`: one series of value 1 per resource, so that queries can join resource attributes to a target's series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from .flush import FlushMessage
from .layout import KnownLayout, Metric, learn_labels, series_id, with_name
from .metric_message import MetricMessage
from .samples import Labels

_NAME: Final = "target_info"
_METRIC: Final = Metric(_NAME, "gauge", "", "Resource attributes of the target.", "", 0, 1)
_IDENTIFYING: Final = frozenset({"service.name", "service.namespace", "service.instance.id"})
_ODD: Final = re.compile(r"[^a-zA-Z0-9_]")
_ONE: Final = np.ones(1)
_CACHED_MAX: Final = 20_000


class TargetInfos:
    """Remembers the series of each resource, at most some ten thousand; used by one thread."""

    def __init__(self) -> None:
        self._of_layout: dict[int, tuple[Mapping[str, str], KnownLayout | None]] = {}
        self._of_labels: dict[Labels, KnownLayout] = {}
        self._serial = 0

    def of(self, messages: Iterable[FlushMessage]) -> list[FlushMessage]:
        """One message per tenant, resource and timestamp of `messages`; none for a resource that says no more than who it is."""
        found: dict[tuple[str, int, int], FlushMessage] = {}
        for m in messages:
            layout = self._layout(m.message)
            if layout is None:
                continue
            timestamp_ms = _timestamp_ms(m)
            key = (m.tenant, layout.serial, timestamp_ms)
            if key not in found:
                message = MetricMessage(
                    layout, m.message.producer_id, m.message.sequence, timestamp_ms, _ONE, None, m.message.resource
                )
                found[key] = FlushMessage(m.tenant, message)
        return list(found.values())

    def _layout(self, message: MetricMessage) -> KnownLayout | None:
        known = self._of_layout.get(message.layout.serial)
        if known is not None and known[0] is message.resource:
            return known[1]
        if len(self._of_layout) >= _CACHED_MAX:
            self._of_layout.clear()
            self._of_labels.clear()
        layout = self._learn(message.resource)
        self._of_layout[message.layout.serial] = (message.resource, layout)
        return layout

    def _learn(self, resource: Mapping[str, str]) -> KnownLayout | None:
        labels = target_labels(resource)
        if labels is None:
            return None
        layout = self._of_labels.get(labels)
        if layout is None:
            self._serial -= 1  # messages' layouts count up from 1
            layout = learn_labels(self._serial, series_id(with_name(_NAME, labels)), 0, [_NAME], [labels], (_METRIC,))
            self._of_labels[labels] = layout
        return layout


def target_labels(resource: Mapping[str, str]) -> Labels | None:
    """Labels of target_info but its name; None without a service.name, or when nothing else is known of the target."""
    service = resource.get("service.name")
    if not service:
        return None
    rest: dict[str, str] = {}
    for key, value in sorted(resource.items()):
        if key not in _IDENTIFYING and key and value:
            name = label_name(key)
            rest[name] = f"{rest[name]};{value}" if name in rest else value
    rest.pop("__name__", None)
    if not rest:
        return None
    namespace, instance = resource.get("service.namespace"), resource.get("service.instance.id")
    rest["job"] = f"{namespace}/{service}" if namespace else service
    rest.pop("instance", None)
    if instance:
        rest["instance"] = instance
    return tuple(sorted(rest.items()))


def label_name(key: str) -> str:
    """An attribute's name as a label that needs no quotes."""
    name = _ODD.sub("_", key)
    return f"key_{name}" if name[0].isdigit() else name


def _timestamp_ms(m: FlushMessage) -> int:
    offsets = m.message.time_offsets_ms
    if offsets is None:
        return m.message.timestamp_ms
    return m.message.timestamp_ms + int((offsets if m.keep is None else offsets[m.keep]).max())
