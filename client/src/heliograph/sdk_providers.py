"""The SDK's global providers: made once per process, or joined where the application has made them already."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .attributes import texts
from .exporters import HeliographLogExporter, HeliographMetricExporter, HeliographSpanExporter, Outlet

_log = logging.getLogger("heliograph")

# Sooner than the SDK's own defaults, which a variable may still set: telemetry is looked at while it is made.
_SPAN_DELAY_MS: Final = 1_000
_LOG_DELAY_MS: Final = 500
_METRIC_INTERVAL_MS: Final = 15_000


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers in use; `meter_provider` is None when the application's own takes no further exporter."""

    tracer_provider: TracerProvider
    logger_provider: LoggerProvider
    meter_provider: MeterProvider | None
    _under_way: dict[int, threading.Event] = field(default_factory=dict, repr=False)
    """The collection of each process that has not yet come to its end."""

    def collect(self, timeout_s: float) -> bool:
        """Bring everything from the SDK's queues and instruments to the exporters; False when that takes longer."""
        ends_s = deadline(timeout_s)
        earlier = self._under_way.get(os.getpid())
        if earlier and not earlier.wait(timeout_s):  # an instrument hangs: no second thread shall hang beside it
            return False
        flushes: list[Callable[[int], object]] = [self.tracer_provider.force_flush, self.logger_provider.force_flush]
        if self.meter_provider:
            flushes.append(self.meter_provider.force_flush)
        done = self._under_way[os.getpid()] = threading.Event()
        work = threading.Thread(
            target=_flush_all, args=(flushes, timeout_s, done), name="heliograph-flush", daemon=True
        )
        try:
            # In a thread of its own: the SDK heeds no deadline, and instruments call the application back.
            work.start()
        except RuntimeError:  # the interpreter is going down and gives no more threads
            _flush_all(flushes, timeout_s, done)
        return done.wait(left(ends_s))


def install(attributes: Mapping[str, str], outlet: Outlet) -> Providers:
    """Set the global providers, or add the exporters to those that are there."""
    resource = Resource.create(dict(attributes))
    return Providers(_tracing(resource, outlet), _logging(resource, outlet), _metering(resource, outlet))


def environment_attributes() -> dict[str, str]:
    """Resource attributes of OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME as they are now."""
    return texts(OTELResourceDetector().detect().attributes)


def deadline(timeout_s: float) -> float:
    """The monotonic time after `timeout_s` seconds."""
    return time.monotonic() + timeout_s


def left(deadline_s: float) -> float:
    """Seconds until a deadline, not less than 0."""
    return max(0.0, deadline_s - time.monotonic())


def _tracing(resource: Resource, outlet: Outlet) -> TracerProvider:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    delay = _unless("OTEL_BSP_SCHEDULE_DELAY", _SPAN_DELAY_MS)
    provider.add_span_processor(BatchSpanProcessor(HeliographSpanExporter(outlet), schedule_delay_millis=delay))
    return provider


def _logging(resource: Resource, outlet: Outlet) -> LoggerProvider:
    provider = _logs.get_logger_provider()
    if not isinstance(provider, LoggerProvider):
        provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        _logs.set_logger_provider(provider)
    delay = _unless("OTEL_BLRP_SCHEDULE_DELAY", _LOG_DELAY_MS)
    processor = BatchLogRecordProcessor(HeliographLogExporter(outlet), schedule_delay_millis=delay)
    provider.add_log_record_processor(processor)
    return provider


def _metering(resource: Resource, outlet: Outlet) -> MeterProvider | None:
    if isinstance(metrics.get_meter_provider(), MeterProvider):
        _log.warning(
            "Metrics are not sent: the application has set a meter provider. Call heliograph.configure before, "
            "or give it a reader with heliograph.exporters.HeliographMetricExporter."
        )
        return None
    interval = _unless("OTEL_METRIC_EXPORT_INTERVAL", _METRIC_INTERVAL_MS)
    reader = PeriodicExportingMetricReader(HeliographMetricExporter(outlet), export_interval_millis=interval)
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider


def _unless(variable: str, default_ms: int) -> int | None:
    return None if os.environ.get(variable, "").strip() else default_ms


def _flush_all(flushes: list[Callable[[int], object]], timeout_s: float, done: threading.Event) -> None:
    ends_s = deadline(timeout_s)
    for flush in flushes:
        # A provider that fails, or one already shut down, must not keep the others from flushing.
        with contextlib.suppress(Exception):
            flush(int(1000 * left(ends_s)) or 1)
    done.set()
