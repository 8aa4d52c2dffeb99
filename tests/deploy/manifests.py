"""The files of deploy/, read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SECRET = DEPLOY / "secret.example.yaml"
WORKLOADS = ("DaemonSet", "Deployment", "StatefulSet")


def documents() -> list[dict[str, Any]]:
    """Every Kubernetes object, the example secret included."""
    files = [*sorted((DEPLOY / "kubernetes").glob("*.yaml")), SECRET]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def of_kind(*kinds: str) -> Iterator[dict[str, Any]]:
    """Those of some kinds."""
    return (document for document in documents() if document["kind"] in kinds)


def named(kind: str, name: str) -> dict[str, Any]:
    """The one of that kind and name."""
    (found,) = (document for document in of_kind(kind) if document["metadata"]["name"] == name)
    return found


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    """What its pods are made of."""
    spec = workload["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container(workload: dict[str, Any]) -> dict[str, Any]:
    """Its only container."""
    (only,) = pod(workload)["containers"]
    assert isinstance(only, dict)
    return only
