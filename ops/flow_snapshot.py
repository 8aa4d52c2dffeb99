"""What is flowing now, gathered from the bus and from what the routers say of themselves."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from bus.errors import BusError
from bus.port import Bus
from heliograph import contracts
from ops.data_dir import read_json
from query.api.flow import Flow, StoreFlow

KEPT_S: Final = 1.0
_TIMEOUT_S: Final = 1.0
_ANSWER_BYTES_MAX: Final = 1024 * 1024
_STORES: Final[Mapping[str, tuple[str, ...]]] = {
    "search": (contracts.LOGS_TOPIC, contracts.TRACES_TOPIC),
    "archive": (contracts.METRICS_TOPIC, contracts.LOGS_TOPIC, contracts.TRACES_TOPIC),
    "tsdb": (contracts.METRICS_TOPIC,),
}


class FlowSnapshot:
    """Takes a snapshot at most every KEPT_S, however many ask."""

    def __init__(self, bus: Bus, data_dir: Path, token: str, clock_s: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._run = data_dir / "run"
        self._token = token
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._last: Flow | None = None

    def now(self) -> Flow:
        """A snapshot; what cannot be asked now counts as nothing and not ready."""
        with self._lock:
            now_ms = round(self._clock_s() * 1000)
            if self._last is None or not 0 <= now_ms - self._last.time_ms < KEPT_S * 1000:
                self._last = self._take(now_ms)
            return self._last

    def _take(self, now_ms: int) -> Flow:
        ends = {topic: self._ends(topic) for topic in contracts.topics()}
        stores = {store: self._store(store, topics, ends) for store, topics in _STORES.items()}
        return Flow(now_ms, {topic: sum(of.values()) for topic, of in ends.items()}, stores)

    def _ends(self, topic: str) -> Mapping[int, int]:
        try:
            return self._bus.end_offsets(topic)
        except BusError:
            return {}

    def _store(self, store: str, topics: tuple[str, ...], ends: Mapping[str, Mapping[int, int]]) -> StoreFlow:
        lag = 0
        for topic in topics:
            try:
                committed = self._bus.committed(f"router.{store}", topic)
            except BusError:
                committed = {}
            lag += sum(max(0, end - committed.get(partition, 0)) for partition, end in ends[topic].items())
        items, is_ready = self._router(store)
        return StoreFlow(items, lag, is_ready)

    def _router(self, store: str) -> tuple[int, bool]:
        """Items written and whether all can work, over the processes of this machine that say they run."""
        cards = [
            path
            for path in self._run.glob(f"router-{store}*.json")
            if path.stem.rstrip("-0123456789") == f"router-{store}"
        ]
        answers = [answer for path in sorted(cards) if (answer := self._ask(path)) is not None]
        return sum(items for items, _ in answers), bool(answers) and all(ready for _, ready in answers)

    def _ask(self, card: Path) -> tuple[int, bool] | None:
        url = urlsplit(str(read_json(card).get("health", "")))
        connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port or 1, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            text = answer.read(_ANSWER_BYTES_MAX).decode("utf-8", "replace")
            if answer.status != http.HTTPStatus.OK:
                return None
            value = {
                sample.name: sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return int(value.get("heliograph_router_items_total", 0)), bool(value.get("heliograph_ready", 0))
