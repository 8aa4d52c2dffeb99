"""The sink of the time-series store: a cut's metric batches become columnar rows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bus.port import Record, TopicPartition
from bus.registry import RegistryUnavailableError
from heliograph import contracts
from heliograph.errors import DecodeError
from heliograph.framing import schema_id_of
from tsdb import errors as tsdb_errors
from tsdb.flush import FlushMessage, FlushPlanner, flush_record
from tsdb.metric_message import MetricMessage, MetricMessages
from tsdb.port import DAY_MS, BlockWriter, DayFlush, OffsetRange, RetiredDayError, Source
from tsdb.target_info import TargetInfos

from .decode import SCHEMA_HEADER, SchemaPendingError, WriterSchemas, check_crc
from .port import Cut, CutLimits, Range, RecordFault, StoreUnavailableError, Written

TOO_NEW_MS: Final = DAY_MS
"""A sample may be this much ahead of its message's append time."""
TOO_LATE_MS: Final = 40 * DAY_MS
"""A sample may be this much behind its message's append time."""
CUT_BYTES_MAX: Final = 32 * 1024 * 1024
"""About a million samples with their layouts."""


class SampleSink:
    """sinks.port's Sink on a block store; `writer` names this process in the rows' keys."""

    name = "tsdb"
    topics: tuple[str, ...] = (contracts.METRICS_TOPIC,)
    limits = CutLimits(age_s=15.0, first_age_s=1.0, bytes_max=CUT_BYTES_MAX)

    def __init__(self, blocks: BlockWriter, schemas: WriterSchemas, writer: str) -> None:
        self._blocks = blocks
        self._schemas = schemas
        self._writer = writer
        self._messages = MetricMessages()
        self._planner = FlushPlanner()
        self._targets = TargetInfos()
        self._home_day: int | None = None

    def resume(self, log_id: str, where: TopicPartition) -> int | None:
        """Rows are write-once under their offsets, so the group's committed offset serves."""
        return None

    def write(self, cut: Cut) -> Written:
        """See Sink. Samples past retention, too late or too new are faults; a cut without samples still leaves its flush record."""
        faults: list[RecordFault] = []
        kept: list[tuple[Record, FlushMessage]] = []
        for record in cut.records:
            self._decode(record, kept, faults)
        while True:
            try:
                self._store(cut, [message for _, message in kept])
                break
            except RetiredDayError as error:
                kept = _without_day(kept, error.day, faults)
            except tsdb_errors.RowTooLargeError as error:
                halves = _halves(cut)
                if not halves:
                    raise StoreUnavailableError(str(error)) from error
                written = [self.write(half) for half in halves]
                return Written(sum(w.items for w in written), tuple(fault for w in written for fault in w.faults))
            except tsdb_errors.StoreUnavailableError as error:
                self._planner.forget()
                raise StoreUnavailableError(str(error)) from error
        return Written(sum(_count(message) for _, message in kept), tuple(faults))

    def close(self) -> None:
        """Nothing of its own to release: the block store belongs to the caller."""

    def _decode(self, record: Record, kept: list[tuple[Record, FlushMessage]], faults: list[RecordFault]) -> None:
        try:
            check_crc(record)
            tenant = (record.header("hg.tenant") or b"default").decode()
            writer = self._schemas.of(schema_id_of(record.body), "metric_batch", record.header(SCHEMA_HEADER))
            message = self._messages.read(record.body, writer)
        except (DecodeError, tsdb_errors.RecordError) as error:
            faults.append(RecordFault(record, error.reason, error.detail))
        except UnicodeDecodeError:
            faults.append(RecordFault(record, "bad_headers", "hg.tenant is not UTF-8"))
        except (SchemaPendingError, RegistryUnavailableError) as error:
            raise StoreUnavailableError(str(error)) from error
        else:
            timely = _timely(record, tenant, message, faults)
            if timely is not None:
                kept.append((record, timely))

    def _store(self, cut: Cut, messages: Sequence[FlushMessage]) -> None:
        source = _source(cut, self._writer)
        messages = [*messages, *self._targets.of(messages)]
        for (tenant, day), entries in self._planner.proposals(messages).items():
            self._planner.claimed((tenant, day), self._blocks.claim(tenant, day, entries))
        flushes = self._planner.plan(messages, source)
        for flush in flushes:
            self._blocks.write(flush)
        self._record(cut, source, flushes)
        self._planner.acknowledge(flushes)

    def _record(self, cut: Cut, source: Source, flushes: Sequence[DayFlush]) -> None:
        days = [record.append_time_ms // DAY_MS for record in cut.records]
        if self._home_day is not None:
            days.append(self._home_day)
        if days:
            self._home_day = max(days)
            with contextlib.suppress(RetiredDayError):
                self._blocks.record(self._home_day, flush_record(source, flushes))


def _source(cut: Cut, writer: str) -> Source:
    log_ids = {r.log_id for r in cut.ranges}
    if len(log_ids) != 1:
        raise ValueError(f"a cut of {len(log_ids)} logs: the metrics topic is one log")
    return Source(
        log_ids.pop(), tuple(sorted(OffsetRange(r.where.partition, r.first, r.next) for r in cut.ranges)), writer
    )


def _count(m: FlushMessage) -> int:
    return len(m.message.values) if m.keep is None else int(m.keep.sum())


def _timely(record: Record, tenant: str, message: MetricMessage, faults: list[RecordFault]) -> FlushMessage | None:
    """The message without samples that are too late or too new by its append time, which a rebuild sees again as it was."""
    earliest, latest = record.append_time_ms - TOO_LATE_MS, record.append_time_ms + TOO_NEW_MS
    if message.time_offsets_ms is None:
        if earliest <= message.timestamp_ms <= latest:
            return FlushMessage(tenant, message)
        reason = "too_new" if message.timestamp_ms > latest else "too_late"
        faults.append(RecordFault(record, reason, f"timestamp {message.timestamp_ms} ms"))
        return None
    if abs(message.timestamp_ms) >= 1 << 60:
        faults.append(RecordFault(record, "too_new" if message.timestamp_ms > 0 else "too_late", "timestamp"))
        return None
    stamps = message.timestamp_ms + message.time_offsets_ms
    new, late = stamps > latest, stamps < earliest
    for reason, bad in (("too_new", new), ("too_late", late)):
        if bad.any():
            indexes = () if bad.all() else tuple(np.flatnonzero(bad).tolist())
            faults.append(RecordFault(record, reason, f"{int(bad.sum())} samples", indexes))
    keep = ~(new | late)
    if not keep.any():
        return None
    return FlushMessage(tenant, message, None if keep.all() else keep)


def _without_day(
    kept: Sequence[tuple[Record, FlushMessage]], day: int, faults: list[RecordFault]
) -> list[tuple[Record, FlushMessage]]:
    """The messages without what falls into a retired day."""
    rest: list[tuple[Record, FlushMessage]] = []
    for record, m in kept:
        offsets = m.message.time_offsets_ms
        if offsets is None:
            if m.message.timestamp_ms // DAY_MS != day:
                rest.append((record, m))
            else:
                faults.append(RecordFault(record, "expired", f"day {day} is past retention"))
            continue
        gone = (m.message.timestamp_ms + offsets) // DAY_MS == day
        if m.keep is not None:
            gone &= m.keep
        keep = ~gone if m.keep is None else m.keep & ~gone
        if gone.any():
            faults.append(RecordFault(record, "expired", f"day {day}", tuple(np.flatnonzero(gone).tolist())))
        if keep.any():
            rest.append((record, FlushMessage(m.tenant, m.message, keep)))
    return rest


def _halves(cut: Cut) -> tuple[Cut, Cut] | None:
    """The cut in two, each partition's range at its middle record, always the same; None when there is but one record."""
    first: list[Range] = []
    second: list[Range] = []
    for r in cut.ranges:
        offsets = [record.offset for record in cut.records if record.where == r.where]
        if len(offsets) < 2:
            (first if len(first) <= len(second) else second).append(r)
        else:
            middle = offsets[len(offsets) // 2]
            first.append(replace(r, next=middle))
            second.append(replace(r, first=middle))
    if not any(map(_has_records(cut), first)) or not any(map(_has_records(cut), second)):
        return None
    return _part(cut, first), _part(cut, second)


def _has_records(cut: Cut) -> Callable[[Range], bool]:
    return lambda r: any(_is_in(record, r) for record in cut.records)


def _part(cut: Cut, ranges: Sequence[Range]) -> Cut:
    return Cut(tuple(ranges), [m for m in cut.records if any(_is_in(m, r) for r in ranges)], cut.tried_below)


def _is_in(record: Record, r: Range) -> bool:
    return record.where == r.where and r.first <= record.offset < r.next
