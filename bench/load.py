"""The load: seeded, the same in every run."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator

from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.metrics import Layout, Series, seal_metrics
from heliograph.records import LogRecord, Source, seal_logs

START_NS = 1_790_000_000_000_000_000
_WORDS = [
    "request",
    "served",
    "order",
    "payment",
    "declined",
    "retry",
    "cache",
    "miss",
    "timeout",
    "user",
    "session",
    "opened",
]
_PATHS = ["/", "/cart", "/checkout", "/api/orders", "/api/stock", "/login"]


def log_records(seed: int, count: int) -> list[LogRecord]:
    """Log records of about 300 bytes with five attributes."""
    chooser = random.Random(seed)
    return [
        LogRecord(
            time_unix_nano=START_NS + i * 1_000_000, observed_time_unix_nano=START_NS + i * 1_000_000,
            severity_number=chooser.choice([9, 9, 9, 13, 17]), severity_text="INFO",
            body=" ".join(chooser.choices(_WORDS, k=12)) + f" {chooser.randrange(10**9)}",
            attributes={
                "http.route": chooser.choice(_PATHS),
                "http.response.status_code": chooser.choice([200, 200, 404, 500]),
                "duration_ms": round(chooser.expovariate(0.05), 3),
                "user.id": f"u{chooser.randrange(10**6)}", "cache.hit": chooser.random() < 0.7,
            },
            trace_id=chooser.randbytes(16) if i % 2 else b"", span_id=b"", flags=0,
        )
        for i in range(count)
    ]  # fmt: skip


def log_messages(seed: int, count: int) -> list[Message]:
    """The same, sealed by one service."""
    identity = ProducerIdentity()
    return seal_logs(log_records(seed, count), Source({"service.name": "bench", "host.name": "h"}), identity.mint)


def targets(count: int, series: int) -> list[tuple[Source, Layout]]:
    """Scrape targets of `series` series under 50 names each."""
    out = []
    for t in range(count):
        labels = (("instance", f"host-{t:04d}:9100"), ("job", "node"))
        rows = [
            Series(f"bench_metric_{i % 50:02d}_total", (*labels, ("path", f"/p{i // 50:03d}")), "counter")
            for i in range(series)
        ]
        layout = Layout.of(sorted(rows))
        out.append((Source({"service.name": "node", "host.name": f"host-{t:04d}"}), layout))
    return out


def scrapes(seed: int, of: list[tuple[Source, Layout]], rounds: int, first: int = 0) -> Iterator[list[Message]]:
    """Per round one message of each target, 15 s apart; values are counters with Poisson-like growth."""
    chooser = random.Random(seed)
    identity = ProducerIdentity()
    growth = [array("d", (float(chooser.randrange(50)) for _ in range(len(layout.series)))) for _, layout in of]
    for n in range(first, first + rounds):
        at_ms = START_NS // 1_000_000 + n * 15_000
        yield [
            seal_metrics(source, layout, at_ms, array("d", (g * n for g in growth[t])), identity.mint)
            for t, (source, layout) in enumerate(of)
        ]
