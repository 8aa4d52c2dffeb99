"""OpenTelemetry's names as Prometheus spells them: underscores for what it cannot hold, and suffixes for unit and type."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

_UNITS: Final = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds",
    "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tebibytes",
    "KBy": "kilobytes", "kBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER_UNITS: Final = {
    "s": "second",
    "m": "minute",
    "min": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}
_NOT_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9]+")
_IDENTITY = frozenset({"service.name", "service.namespace", "service.instance.id"})


@functools.lru_cache(4096)
def metric_name(name: str, unit: str = "", kind: str = "gauge") -> str:
    """The metric `name` with UCUM `unit` and `kind` (counter, gauge, histogram, summary) as Prometheus names it.

    `http.server.duration` in `s` becomes `http_server_duration_seconds`, a counter ends in `_total`, a gauge in `1` ends in
    `_ratio`. A name without one usable character becomes `_`.
    """
    tokens = [token for token in _NOT_NAME.split(name) if token]
    main, _, per = unit.partition("/")
    main_suffix = _tokens(main, _UNITS)
    per_suffix = _tokens(per, _PER_UNITS)
    if main_suffix and main_suffix not in tokens:
        tokens.append(main_suffix)
    if per_suffix and per_suffix not in tokens:
        tokens += ("per", per_suffix)
    if kind == "counter":
        tokens = [*(t for t in tokens if t != "total"), "total"]
    if kind == "gauge" and unit == "1":
        tokens = [*(t for t in tokens if t != "ratio"), "ratio"]
    text = "_".join(tokens)
    return f"_{text}" if not text or text[0].isdigit() else text


@functools.lru_cache(4096)
def label_name(key: str) -> str:
    """An attribute's key as a label name: runs of other characters become one `_`; a leading digit gets `key_` before it.

    The result never starts with two underscores, so no attribute can forge `__name__`.
    """
    text = _NOT_LABEL.sub("_", key)
    if not text:
        return "_"
    return f"key_{text}" if text[0].isdigit() else text


def labels(attributes: Mapping[str, str]) -> dict[str, str]:
    """Labels of attributes; keys that become the same name have their values joined by `;` in the order of the keys."""
    found: dict[str, str] = {}
    for key, value in sorted(attributes.items()):
        name = label_name(key)
        found[name] = f"{found[name]};{value}" if name in found else value
    return found


def target_labels(resource: Mapping[str, str]) -> dict[str, str]:
    """`job` (namespace/name of the service) and `instance` (service.instance.id, else host.name) of a resource; absent when unknown."""
    job = "/".join(p for p in (resource.get("service.namespace", ""), resource.get("service.name", "")) if p)
    instance = resource.get("service.instance.id") or resource.get("host.name", "")
    return {key: value for key, value in (("job", job), ("instance", instance)) if value}


def series_labels(attributes: Mapping[str, str], target: Mapping[str, str]) -> dict[str, str]:
    """Complete labels of a series: those of its attributes, then the target's, which win.

    An attribute that the target's label would hide is kept as `exported_<name>`, as a scrape does.
    """
    found = labels(attributes)
    for name, value in target.items():
        hidden = found.pop(name, None)
        if hidden is not None:
            found.setdefault(f"exported_{name}", hidden)
        found[name] = value
    return found


def resource_labels(resource: Mapping[str, str]) -> dict[str, str]:
    """Labels of `target_info`: every attribute of the resource but those that make `job` and `instance`, and these two."""
    rest = {key: value for key, value in resource.items() if key not in _IDENTITY}
    return series_labels(rest, target_labels(resource))


def _tokens(unit: str, words: Mapping[str, str]) -> str:
    unit = unit.strip()
    if "{" in unit or "}" in unit:
        return ""
    word = words.get(unit, unit)
    return "_".join(token for token in _NOT_NAME.split(word) if token)
