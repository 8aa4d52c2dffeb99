"""What the receiver takes: from a body to "the bus or the spool has it", with a memory for bodies that come again."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bus.errors import BusError, OversizeError
from bus.registry import Registry
from collectors import bundles, otlp_logs, otlp_metrics, otlp_spans
from collectors.deltas import Deltas
from collectors.digests import Digests
from collectors.drops import Drops
from collectors.errors import BusyError, DigestsError, OutboxClosedError, OutboxFullError, RequestError
from collectors.otlp_batch import seal_groups
from collectors.otlp_encoding import Encoding, Signal, parse
from collectors.outbox import Outbox
from collectors.taken import Taken
from collectors.unsent import Unsent
from heliograph.identity import Mint
from heliograph.message import Message
from heliograph.points import MetricSealer, Point
from heliograph.records import Source, seal_logs, seal_spans

R = TypeVar("R")
log = logging.getLogger(__name__)


class Intake:
    """One conversion at a time, in a thread of its own; the event loop only ever waits. Used within one event loop."""

    def __init__(
        self,
        outbox: Outbox,
        registry: Registry,
        digests: Digests,
        drops: Drops,
        mint: Mint,
        time_ns: Callable[[], int],
        deadline_s: float = 5.0,
    ) -> None:
        self._outbox = outbox
        self._registry = registry
        self._digests = digests
        self._mint = mint
        self._time_ns = time_ns
        self._deadline_s = deadline_s
        self._sealer = MetricSealer(mint)
        self._deltas = Deltas()
        self._unsent = Unsent(lambda messages: drops.note(messages, "refused"))
        self._flying: dict[bytes, asyncio.Future[Taken]] = {}
        self._worker = ThreadPoolExecutor(1, "receiver")
        self.counts = dict.fromkeys(("requests", "duplicates", "items_refused", "batches", "unavailable"), 0)

    async def otlp(self, signal: Signal, body: bytes, encoding: Encoding) -> Taken:
        """Durable when it returns. A body that was taken within ten minutes is not produced again.

        Raises RequestError(400), BusyError(503).
        """
        digest = hashlib.sha256(f"{signal} {encoding} ".encode() + body).digest()
        flying = self._flying.get(digest)
        if flying is not None:
            self.counts["duplicates"] += 1
            return await asyncio.shield(flying)
        task = asyncio.ensure_future(self._take(digest, signal, body, encoding))
        self._flying[digest] = task
        task.add_done_callback(lambda done: self._landed(digest, done))
        return await asyncio.shield(task)  # a sender that hangs up does not undo what is on its way

    async def bundle(self, body: bytes) -> int:
        """The client's batches, unchanged; how many. They stay the client's until this returns.

        Raises RequestError(400), BusyError(503).
        """
        messages = await self.in_worker(lambda: bundles.checked(body, self._registry))
        await self._deliver(messages)
        return len(messages)

    def close(self) -> None:
        """What is not on the bus by now becomes facts."""
        self._worker.shutdown()
        self._unsent.close()

    async def _take(self, digest: bytes, signal: Signal, body: bytes, encoding: Encoding) -> Taken:
        self.counts["requests"] += 1
        if await self._is_known(digest):
            self.counts["duplicates"] += 1
            return Taken((), duplicate=True)
        taken = self._unsent.take(digest, self._seconds())
        if taken is None:
            taken = await self.in_worker(lambda: self._seal(signal, body, encoding))
        try:
            await self._deliver(taken.messages)
        except BusyError:
            self._unsent.keep(digest, taken, self._seconds())
            raise
        if taken.messages:
            await self._remember(digest)
        self.counts["items_refused"] += taken.items_refused
        return taken

    def _landed(self, digest: bytes, done: asyncio.Future[Taken]) -> None:
        self._flying.pop(digest, None)
        if not done.cancelled():
            done.exception()  # seen, even when the sender has hung up

    def _seal(self, signal: Signal, body: bytes, encoding: Encoding) -> Taken:
        now = self._time_ns()
        if signal == "logs":
            logs = otlp_logs.log_records(parse(ExportLogsServiceRequest(), body, encoding), now)
            return Taken(tuple(seal_groups(logs, seal_logs, self._mint)), logs.refused.count, logs.refused.reason)
        if signal == "traces":
            spans = otlp_spans.spans(parse(ExportTraceServiceRequest(), body, encoding))
            return Taken(tuple(seal_groups(spans, seal_spans, self._mint)), spans.refused.count, spans.refused.reason)
        request = parse(ExportMetricsServiceRequest(), body, encoding)
        points = otlp_metrics.points(request, now, self._deltas.accumulate)
        sealed = seal_groups(points, self._seal_points, self._mint)
        return Taken(tuple(sealed), points.refused.count, points.refused.reason)

    def _seal_points(self, points: Sequence[Point], source: Source, mint: Mint) -> list[Message]:
        # seal_groups tries single items with an identity of nobody, which must not use up one of ours.
        sealer = self._sealer if mint is self._mint else MetricSealer(mint)
        return sealer.seal(points, source)

    async def _deliver(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        try:
            await asyncio.wrap_future(self._outbox.submit(messages, self._deadline_s))
        except OutboxFullError as error:
            self.counts["unavailable"] += 1
            raise BusyError(503, "too much waits for the bus already: send again later", retry_after_s=2) from error
        except OversizeError as error:
            raise RequestError(400, f"the bus can never take it: {error}") from error
        except (BusError, OutboxClosedError) as error:
            self.counts["unavailable"] += 1
            raise BusyError(503, "the bus does not take it now: send again later", retry_after_s=2) from error
        self.counts["batches"] += len(messages)

    def _seconds(self) -> float:
        return self._time_ns() / 1e9

    async def _is_known(self, digest: bytes) -> bool:
        try:
            return await asyncio.to_thread(self._digests.has, digest)
        except DigestsError as error:
            log.warning("a retry may be taken twice: %s", error)
            return False

    async def _remember(self, digest: bytes) -> None:
        try:
            await asyncio.to_thread(self._digests.remember, digest)
        except DigestsError as error:
            # It is durable: a refusal now would make a duplicate for certain, a 200 only if it is lost.
            log.warning("a retry may be taken twice: %s", error)

    async def in_worker(self, work: Callable[[], R]) -> R:
        """Run something that takes time or memory, one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)
