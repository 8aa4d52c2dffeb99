"""Whose telemetry it is: an SDK resource, with what `configure` says of it, as the source of a batch."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .attributes import clean, texts
from .records import Source

INSTANCE_ID = "service.instance.id"


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is laid over every resource: attributes that are set, and names of those that are taken away."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()


class Sources:
    """Makes sources; a resource without `service.instance.id` gets one for this process, another in a forked child."""

    def __init__(self, overlay: Overlay | None = None) -> None:
        self.overlay = overlay or Overlay()
        self._instance_ids: dict[int, str] = {}

    def of(self, resource: Resource, scope: InstrumentationScope | None = None) -> Source:
        """The source of what one scope emitted under the resource."""
        found = {key: value for key, value in texts(resource.attributes).items() if key not in self.overlay.removed}
        found.update(self.overlay.attributes)
        if not found.get(INSTANCE_ID):
            found[INSTANCE_ID] = self._instance_ids.setdefault(os.getpid(), str(uuid.uuid4()))
        if scope is None:
            return Source(found)
        return Source(found, clean(scope.name or ""), clean(scope.version or ""))
