"""Exporters for OpenTelemetry's SDK: each seals what a processor hands it, and gives it to the producer."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from . import sdk_logs, sdk_metrics, sdk_spans
from .default_producer import default_producer
from .errors import ContractError
from .identity import Mint
from .message import Message
from .points import MetricSealer, Point, target_info_point
from .producer import Producer
from .records import Source, seal_logs, seal_spans
from .sources import Sources

_log = logging.getLogger("heliograph.exporters")
_SHUTDOWN_S_MAX = 1.0

_Item = TypeVar("_Item")
_Record = TypeVar("_Record")
_Scope = tuple[Resource, "InstrumentationScope | None"]


class Outlet:
    """Where an exporter's batches go; `producer` and `sources` may be exchanged while it is in use."""

    def __init__(self, producer: Producer | None = None, sources: Sources | None = None) -> None:
        self.producer = producer or default_producer()
        self.sources = sources or Sources()

    def emit(self, records: Sequence[_Record], seal: Callable[[Sequence[_Record], Mint], list[Message]]) -> None:
        """Seal and submit; a record that no batch can hold is dropped alone, and counted by its reason."""
        try:
            messages = seal(records, self.producer.mint)
        except ContractError as error:
            if len(records) == 1:
                _log.warning("A record was dropped: %s", error)
                self.producer.count_dropped(error.reason)
                return
            middle = len(records) // 2
            self.emit(records[:middle], seal)
            self.emit(records[middle:], seal)
        else:
            self.producer.submit(messages)

    def flush(self, timeout_millis: float) -> bool:
        """Wait until what was emitted has arrived."""
        return self.producer.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float) -> None:
        """Give what is queued a moment; the rest is sent until the process ends."""
        if not self.producer.failing:
            self.producer.flush(min(timeout_millis / 1000, _SHUTDOWN_S_MAX))


class HeliographSpanExporter(SpanExporter):
    """Spans, for a `BatchSpanProcessor`; without an outlet, to HELIOGRAPH_ENDPOINT."""

    def __init__(self, outlet: Outlet | None = None) -> None:
        self._outlet = outlet or Outlet()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for (resource, scope), group in _grouped(spans, lambda s: (s.resource, s.instrumentation_scope)):
            source = self._outlet.sources.of(resource, scope)
            records = [sdk_spans.record(span) for span in group]
            self._outlet.emit(records, lambda some, mint, source=source: seal_spans(some, source, mint))  # type: ignore[misc]
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._outlet.flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 1_000) -> None:
        self._outlet.shutdown(timeout_millis)


class HeliographLogExporter(LogRecordExporter):
    """Log records, for a `BatchLogRecordProcessor`; without an outlet, to HELIOGRAPH_ENDPOINT."""

    def __init__(self, outlet: Outlet | None = None) -> None:
        self._outlet = outlet or Outlet()

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        for (resource, scope), group in _grouped(batch, lambda r: (r.resource, r.instrumentation_scope)):
            source = self._outlet.sources.of(resource, scope)
            records = [sdk_logs.record(item) for item in group]
            self._outlet.emit(records, lambda some, mint, source=source: seal_logs(some, source, mint))  # type: ignore[misc]
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._outlet.flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 1_000) -> None:
        self._outlet.shutdown(timeout_millis)


class HeliographMetricExporter(MetricExporter):
    """Metrics, cumulative, for a `PeriodicExportingMetricReader`; without an outlet, to HELIOGRAPH_ENDPOINT."""

    def __init__(self, outlet: Outlet | None = None) -> None:
        super().__init__()
        self._outlet = outlet or Outlet()
        self._sealers: dict[int, MetricSealer] = {}

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        for of_resource in metrics_data.resource_metrics:
            source = self._outlet.sources.of(of_resource.resource)
            points, unsupported = sdk_metrics.points(of_resource.scope_metrics, source.resource)
            if unsupported:
                self._outlet.producer.count_dropped("unsupported", unsupported)
            if points:
                points.append(target_info_point(source.resource, max(p.time_ms for p in points)))
                self._emit(points, source)
        return MetricExportResult.SUCCESS

    def _emit(self, points: Sequence[Point], source: Source) -> None:
        # One per process: a fork may have left the cache of the parent's in use for ever.
        sealer = self._sealers.setdefault(os.getpid(), MetricSealer(lambda: self._outlet.producer.mint()))
        self._outlet.emit(points, lambda some, _mint: sealer.seal(some, source))

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._outlet.flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 1_000, **kwargs: object) -> None:
        self._outlet.shutdown(timeout_millis)


def _grouped(items: Sequence[_Item], key: Callable[[_Item], _Scope]) -> list[tuple[_Scope, list[_Item]]]:
    groups: dict[tuple[int, str, str], tuple[_Scope, list[_Item]]] = {}
    for item in items:
        resource, scope = key(item)
        # Hashing a resource serialises it; the objects live as long as the items that hold them.
        name = (id(resource), scope.name or "", scope.version or "") if scope else (id(resource), "", "")
        groups.setdefault(name, ((resource, scope), []))[1].append(item)
    return list(groups.values())
