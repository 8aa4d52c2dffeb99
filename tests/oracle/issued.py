"""What the oracle issues: everything follows from a seed, so that a record found anywhere can be checked against its own id."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from heliograph.identity import BatchId
from heliograph.message import Message
from heliograph.metrics import Layout, Series, seal_metrics
from heliograph.records import LogRecord, Source, Span, seal_logs, seal_spans

WORDS = (
    "flash",
    "mirror",
    "ridge",
    "sun",
    "наблюдение",
    "光",
    "naïve",
    "\u202eback",
    'quo"te',
    "back\\slash",
    "tab\t",
    "🜂",
)
SERIES = 40
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
_ODD = (0.0, -0.0, float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308, STALE)

Mint = Callable[[], BatchId]


@dataclass(frozen=True, slots=True)
class Issued:
    """A sealed batch and the ids of what it holds."""

    message: Message
    ids: tuple[str, ...]


def body_of(record_id: str) -> str:
    """The body that a log record or span of this id must have, checksum included."""
    chooser = random.Random(record_id)
    text = " ".join(chooser.choice(WORDS) for _ in range(chooser.randint(1, 12)))
    return f"oracle {record_id} {text} sum={zlib.crc32((record_id + text).encode()):08x}"


def value_bits(seed: int, series: int, time_ms: int) -> int:
    """The 64 bits that the sample of this series and time must have."""
    digest = hashlib.sha256(f"{seed}/{series}/{time_ms}".encode()).digest()
    if digest[0] < 16:
        return int.from_bytes(struct.pack(">d", _ODD[digest[1] % len(_ODD)]), "big")
    (number,) = struct.unpack("<d", digest[8:16])
    if number != number:
        number = digest[1] + digest[2] / 256
    return int.from_bytes(struct.pack(">d", number), "big")


class Issuer:
    """Issues batches of one run; `time_ns` gives the present."""

    def __init__(self, seed: int, mint: Mint, time_ns: Callable[[], int]) -> None:
        self._seed = seed
        self._mint = mint
        self._time_ns = time_ns
        self._random = random.Random(seed)
        self._count = 0
        self._last_ms = 0
        self._source = Source({"service.name": f"oracle-{seed}", "host.name": "oracle"})
        labels = [(("instance", "oracle"), ("job", f"oracle-{seed}"), ("series", f"{i:03d}")) for i in range(SERIES)]
        self._layout = Layout.of([Series("oracle_value", label, "gauge") for label in labels])

    def _ids(self, signal: str, count: int) -> list[str]:
        first, self._count = self._count, self._count + count
        return [f"{self._seed}-{signal}-{n}" for n in range(first, first + count)]

    def logs(self) -> list[Issued]:
        """A few log records, with and without a trace."""
        ids = self._ids("log", self._random.randint(1, 30))
        now = self._time_ns()
        records = [
            LogRecord(
                time_unix_nano=now + i, observed_time_unix_nano=now, severity_number=self._random.randint(1, 24),
                severity_text="INFO", body=body_of(record_id), attributes={"oracle.id": record_id, "oracle.n": i},
                trace_id=self._random.randbytes(16) if i % 3 == 0 else b"", span_id=b"", flags=0,
            )
            for i, record_id in enumerate(ids)
        ]  # fmt: skip
        return [
            _issued(seal_logs([r], self._source, self._mint), [i]) for r, i in zip(records[:2], ids[:2], strict=False)
        ] + (_split(seal_logs(records[2:], self._source, self._mint)) if records[2:] else [])

    def spans(self) -> list[Issued]:
        """One trace of a few spans."""
        ids = self._ids("span", self._random.randint(1, 12))
        now, trace = self._time_ns(), self._random.randbytes(16)
        span_ids = [self._random.randbytes(8) for _ in ids]
        spans = [
            Span(
                trace_id=trace, span_id=span_ids[i], parent_span_id=span_ids[i - 1] if i else b"", trace_state="",
                name=body_of(record_id), kind=1 + i % 5, start_time_unix_nano=now + i, end_time_unix_nano=now + 1000 + i,
                status_code=i % 3, status_message="", attributes={"oracle.id": record_id}, events=[], links=[], flags=1,
            )
            for i, record_id in enumerate(ids)
        ]  # fmt: skip
        return [Issued(message, tuple(ids)) for message in seal_spans(spans, self._source, self._mint)]

    def metrics(self) -> list[Issued]:
        """One sample of every series, at a time that no batch had before."""
        self._last_ms = max(self._last_ms + 1, self._time_ns() // 1_000_000)
        at = self._last_ms
        bits = [value_bits(self._seed, i, at) for i in range(SERIES)]
        values = array("d", struct.unpack(f">{SERIES}d", struct.pack(f">{SERIES}Q", *bits)))
        message = seal_metrics(self._source, self._layout, at, values, self._mint)
        return [Issued(message, tuple(f"{self._seed}-sample-{i}-{at}" for i in range(SERIES)))]


def _issued(messages: list[Message], ids: list[str]) -> Issued:
    (message,) = messages
    return Issued(message, tuple(ids))


def _split(messages: list[Message]) -> list[Issued]:
    from heliograph import contracts
    from heliograph.records import decode_batch

    schema = contracts.schema("log_batch")
    return [
        Issued(m, tuple(r["attributes"]["oracle.id"] for r in decode_batch(m.body, schema)["records"]))
        for m in messages
    ]
