"""What a role is given to run with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from ops.instance import Instance
from ops.settings import Settings


@dataclass(frozen=True, slots=True)
class RoleContext:
    """The edges of one role's process."""

    name: str
    instance: Instance
    data_dir: Path
    stop: threading.Event
    """Set when the role is to drain and return; it has 10 s."""
    beat: Callable[[], None]
    """To be called by the main loop at least every second: a role whose beat is 10 s old is killed and started again."""
    set_ready: Callable[[Mapping[str, str]], None]
    """Reasons why the role cannot do its work, by part; empty when it can."""
    set_notes: Callable[[Mapping[str, str]], None]
    """What is worth knowing by part although the role does its work."""
    serves: Callable[[str, str], None]
    """(`http` or `otlp_http`, URL): what others may find in endpoints.json."""
    metrics: CollectorRegistry
    log: structlog.stdlib.BoundLogger


RunRole = Callable[[Settings, RoleContext], int]
"""Runs until context.stop is set; returns the exit code."""
