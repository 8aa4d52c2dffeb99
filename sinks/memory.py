"""A sink that keeps what it is given: for tests, and for trying a router without a store."""

from __future__ import annotations

from collections.abc import Callable

from bus.port import Record, TopicPartition
from heliograph import contracts
from sinks.port import Cut, CutLimits, RecordFault, StoreUnavailableError, Written


class MemorySink:
    """An in-memory Sink. `records` is a reader's view, by place in the log: every message once, whatever came twice.

    A test sets `unavailable` to the sentence that write() and resume() shall fail with, and `judge` to what finds a record's fault
    (reason and detail). `store_resumes` makes the store, not the group's offset, say where reading goes on.
    """

    name = "memory"
    topics: tuple[str, ...] = (contracts.METRICS_TOPIC, contracts.LOGS_TOPIC, contracts.TRACES_TOPIC)

    def __init__(
        self, limits: CutLimits, judge: Callable[[Record], tuple[str, str] | None] = lambda record: None
    ) -> None:
        self.limits = limits
        self.judge = judge
        self.unavailable = ""
        self.store_resumes = False
        self.cuts: list[Cut] = []
        self.records: dict[tuple[str, TopicPartition, int], Record] = {}
        self.written_below: dict[tuple[str, TopicPartition], int] = {}
        self.closed = False

    def resume(self, log_id: str, where: TopicPartition) -> int | None:
        if self.unavailable:
            raise StoreUnavailableError(self.unavailable)
        return self.written_below.get((log_id, where), 0) if self.store_resumes else None

    def write(self, cut: Cut) -> Written:
        if self.unavailable:
            raise StoreUnavailableError(self.unavailable)
        self.cuts.append(cut)
        log_ids = {r.where: r.log_id for r in cut.ranges}
        faults: list[RecordFault] = []
        items = duplicates = 0
        for record in cut.records:
            found = self.judge(record)
            if found is not None:
                faults.append(RecordFault(record, *found))
                continue
            key = (log_ids[record.where], record.where, record.offset)
            items += 1
            duplicates += key in self.records
            self.records[key] = record
        for r in cut.ranges:
            self.written_below[r.log_id, r.where] = max(r.next, self.written_below.get((r.log_id, r.where), 0))
        return Written(items, tuple(faults), duplicates)

    def close(self) -> None:
        self.closed = True
