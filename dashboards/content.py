"""What Heliograph wants a Grafana to have: two data sources and the pipeline dashboard. Pure."""

from __future__ import annotations

import json
from pathlib import Path

Json = dict[str, object]

METRICS_UID = "heliograph-metrics"
TRACES_UID = "heliograph-traces"
_PIPELINE = Path(__file__).parent / "grafana" / "pipeline.json"


def data_sources(base: str) -> list[Json]:
    """The Prometheus and the Jaeger data source of the query service at `base`, without their password."""
    metrics: Json = {
        "httpMethod": "POST",
        "manageAlerts": True,
        "prometheusType": "Prometheus",
        "prometheusVersion": "3.0.0",
        "timeInterval": "15s",
    }
    return [
        _source(METRICS_UID, "Heliograph metrics", "prometheus", f"{base.rstrip('/')}/prometheus", metrics),
        _source(
            TRACES_UID, "Heliograph traces", "jaeger", f"{base.rstrip('/')}/jaeger", {"nodeGraph": {"enabled": True}}
        ),
    ]


def pipeline() -> Json:
    """The pipeline dashboard in Grafana's classic JSON."""
    loaded: Json = json.loads(_PIPELINE.read_text("utf-8"))
    return loaded


def differences(wanted: Json, found: Json) -> list[str]:
    """The keys of `wanted` that `found` lacks or has otherwise; what Grafana adds by itself does not count."""
    return [key for key, value in wanted.items() if found.get(key) != value]


def _source(uid: str, name: str, kind: str, url: str, settings: Json) -> Json:
    return {
        "uid": uid, "name": name, "type": kind, "url": url, "access": "proxy",
        "basicAuth": True, "basicAuthUser": "heliograph", "jsonData": settings,
    }  # fmt: skip
