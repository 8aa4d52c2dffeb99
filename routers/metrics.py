"""A router's own metrics, in the Prometheus registry of its process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bus.errors import BusError
from bus.port import Bus
from routers.status import RouterStatus

_CUT_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RouterMetrics:
    """Counters and gauges of one router; `store` is its sink's name."""

    def __init__(self, registry: CollectorRegistry, store: str) -> None:
        self._store = store
        records = Counter(
            "heliograph_router_records_total",
            "Messages by what became of them: stored or dead_lettered.",
            ("store", "outcome"),
            registry=registry,
        )
        self.stored = records.labels(store, "stored")
        self.dead_lettered = records.labels(store, "dead_lettered")
        self.items = self._counter(
            registry, "items_total", "Log records, spans or samples stored, duplicates included."
        )
        self.duplicates = self._counter(
            registry, "duplicates_total", "Items that the store recognised as stored before."
        )
        self.bytes = self._counter(registry, "bytes_total", "Bytes of messages written, headers included.")
        self.offsets_lost = self._counter(registry, "offsets_lost_total", "Offsets that expired before they were read.")
        self.fenced = self._counter(registry, "fenced_total", "Commits refused because the group had moved on.")
        self.retries = Counter(
            "heliograph_router_retries_total",
            "Failures after which the same work is tried again, by whose they are: store or bus.",
            ("store", "fault"),
            registry=registry,
        )
        self.cut_seconds = Histogram(
            "heliograph_router_cut_seconds",
            "How long the store took to write a cut.",
            ("store",),
            buckets=_CUT_BUCKETS_S,
            registry=registry,
        ).labels(store)
        self.ready = self._gauge(registry, "ready", "1 when the router is reading and its store takes what it reads.")
        self.held_bytes = self._gauge(registry, "held_bytes", "Bytes gathered or being written.")

    def retried(self, fault: str) -> None:
        """Count a failure of the `store` or the `bus`."""
        self.retries.labels(self._store, fault).inc()

    def _counter(self, registry: CollectorRegistry, name: str, text: str) -> Counter:
        return Counter(f"heliograph_router_{name}", text, ("store",), registry=registry).labels(self._store)

    def _gauge(self, registry: CollectorRegistry, name: str, text: str) -> Gauge:
        return Gauge(f"heliograph_router_{name}", text, ("store",), registry=registry).labels(self._store)


class LagCollector(Collector):
    """How far a router is behind, asked of the bus at each scrape, so that a stalled router's lag is true as well."""

    def __init__(self, bus: Bus, status: Callable[[], RouterStatus]) -> None:
        self._bus = bus
        self._status = status

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        status = self._status()
        ends = {}
        for where, done in sorted(status.done.items()):
            try:
                if where.topic not in ends:
                    ends[where.topic] = self._bus.end_offsets(where.topic)
            except BusError:
                continue
            lag = max(0, ends[where.topic].get(where.partition, done) - done)
            family.add_metric((status.store, where.topic, str(where.partition)), lag)
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        text = "Offsets between what is done and the end of the log."
        return GaugeMetricFamily("heliograph_router_lag_offsets", text, labels=("store", "topic", "partition"))
