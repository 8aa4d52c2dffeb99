"""Producer: takes sealed batches from an application without ever making it wait, and brings them to a transport.

Nothing is started before the first batch. Each process has its own queue, thread and identity: a forked child starts anew
with none of its parent's batches, which the parent sends itself.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import time
import weakref
from collections.abc import Sequence

from .delivery import Delivery, Edge, Limits, Statistics
from .identity import BatchId
from .message import Message
from .transport import Transport

EXIT_FLUSH_S = 2.0
"""How long a process that ends may wait for what is still queued, over all its producers."""

_producers: weakref.WeakSet[Producer] = weakref.WeakSet()


class Producer:
    """A bounded queue in front of a transport; safe from any thread, in forked children and in signal handlers."""

    def __init__(
        self,
        transport: Transport,
        *,
        queue_bytes_max: int = 8 * 1024 * 1024,
        limits: Limits | None = None,
        edge: Edge | None = None,
    ) -> None:
        """`limits`, when given, replaces all defaults, `queue_bytes_max` included. Does no I/O and starts no thread."""
        self._transport = transport
        self._limits = limits or Limits(queue_bytes_max=queue_bytes_max)
        self._edge = edge or Edge(time.monotonic, time.time_ns, lambda s: random.uniform(0, s), os.urandom)
        self._deliveries: dict[int, Delivery] = {}
        self._closed = False
        _producers.add(self)

    def mint(self) -> BatchId:
        """The identity of the batch that is sealed next in this process."""
        return self._delivery().mint()

    def submit(self, messages: Sequence[Message]) -> None:
        """Queue sealed batches. Never waits and never raises: what finds the queue full is dropped and counted as `queue_full`."""
        self._delivery().submit(messages)

    def count_dropped(self, reason: str, items: int = 1) -> None:
        """Count items that could not be sealed."""
        self._delivery().count_dropped(reason, items)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was submitted before is acknowledged, or dropped and counted; False when that takes longer."""
        delivery = self._deliveries.get(os.getpid())
        return delivery is None or delivery.flush(timeout_s)

    def shutdown(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Flush, then stop; returns by the deadline, False when something had to be given up. Later batches are dropped and counted."""
        self._closed = True
        delivery = self._deliveries.get(os.getpid())
        return delivery is None or delivery.close(timeout_s)

    @property
    def failing(self) -> bool:
        """Whether the last send failed."""
        delivery = self._deliveries.get(os.getpid())
        return delivery is not None and delivery.failing

    @property
    def statistics(self) -> Statistics:
        """What has become of this process' batches so far."""
        return self._delivery().statistics()

    def _delivery(self) -> Delivery:
        pid = os.getpid()
        delivery = self._deliveries.get(pid)
        if delivery is None:
            # setdefault is atomic: of two threads that come first, both get the same.
            fresh = Delivery(self._transport, self._limits, self._edge)
            delivery = self._deliveries.setdefault(pid, fresh)
            if self._closed:
                delivery.close(0)
        return delivery

    def _forget(self) -> None:
        # What the parent left may have locks held and its thread is gone: it is let go, never touched.
        self._deliveries = {}
        with contextlib.suppress(Exception):
            self._transport.close()


def _forget_all() -> None:
    for producer in list(_producers):
        producer._forget()


def _flush_all() -> None:
    deadline = time.monotonic() + EXIT_FLUSH_S
    for producer in list(_producers):
        producer.shutdown(max(0.0, deadline - time.monotonic()))


atexit.register(_flush_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
