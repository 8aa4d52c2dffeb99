"""One store away under load: what the other two lose of their rate, and what the waiting router holds in memory.

`python -m tests.oracle.bulkhead --store search --seconds 300` runs it on real engines and prints what it measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from routers.router import BYTES_BUDGET

from . import verdict
from .engines import Engines
from .platform_under_test import Platform, wait_for
from .run import SETTLE_DEADLINE_S, START_DEADLINE_S, await_committed, await_unspooled
from .senders import Noted, post_load, send_batches, started
from .verdict import Verdict

STORES = ("search", "archive", "tsdb")
SENDERS = 2
LOAD_RECORDS, LOAD_PAUSE_S = 200, 0.4
"""Some 0.8 MB/s: within two minutes more than a waiting router may hold."""
BEFORE_S = 60.0
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """What was measured."""

    store: str
    before: dict[str, float]
    """Items per second of each router while all is well."""
    during: dict[str, float]
    """The same while the store is away."""
    pss_before_bytes: int
    """Of the waiting router, just before."""
    pss_bytes: Sequence[int]
    """Of the waiting router, each second while the store is away."""
    verdicts: Sequence[Verdict]
    """After the store came back and everything was committed."""

    def kept(self, store: str) -> float:
        """The share of its rate that a router kept."""
        return self.during[store] / self.before[store]

    @property
    def pss_share(self) -> float:
        """Greatest memory of the waiting router, as a share of what it had and its budget of bytes together."""
        return max(self.pss_bytes) / (self.pss_before_bytes + BYTES_BUDGET)


def bulkhead(
    store: str, server: str, folder: Path, engines: Engines, down_s: float, tell: Callable[[str], None]
) -> Bulkhead:
    """Load, take `server` away for `down_s`, bring it back, settle, judge; raises AssertionError when that does not succeed."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "heliograph.yaml"
    config.write_text(engines.config)
    platform = Platform(folder / "data", arguments=("--config", str(config)))
    noted, stop = Noted(), threading.Event()
    try:
        platform.start()
        wait_for("the platform is ready", platform.answers, START_DEADLINE_S)
        seeds = range(900, 900 + SENDERS)
        senders = [started(send_batches, seed, platform.otlp_url, noted, stop) for seed in seeds]
        senders.append(started(post_load, 990, platform.otlp_url, noted, stop, LOAD_RECORDS, LOAD_PAUSE_S))
        others = [each for each in STORES if each != store]
        time.sleep(10.0)
        before = _rates(platform, STORES, BEFORE_S)
        tell(f"before: {_shown(before)}")
        pid = platform.pids()[f"router-{store}"]
        pss_before = _pss_bytes(pid)
        mend = engines.servers[server]()
        pss: list[int] = []
        watching = threading.Event()
        watcher = started(_watch, pid, pss, watching, tell)
        during = _rates(platform, others, down_s)
        watching.set()
        watcher.join()
        tell(f"during: {_shown(during)}")
        mend()
        stop.set()
        for sender in senders:
            sender.join(START_DEADLINE_S)
        await_unspooled(platform.data_dir, SETTLE_DEADLINE_S)
        bus = engines.bus()
        try:
            await_committed(bus, SETTLE_DEADLINE_S * 2)
        finally:
            bus.close()
        platform.stop()
    finally:
        platform.kill()
    issued, acknowledged = noted.issued, noted.acknowledged
    verdicts = [
        verdict.judge("search", engines.documents(), issued, verdict.signals(acknowledged, "log", "span", "otlp")),
        verdict.judge("archive", engines.objects(), issued, acknowledged),
        verdict.judge("tsdb", engines.samples(), issued, verdict.signals(acknowledged, "sample")),
    ]
    return Bulkhead(store, before, during, pss_before, pss, verdicts)


def _rates(platform: Platform, stores: Sequence[str], seconds: float) -> dict[str, float]:
    begun, first = time.monotonic(), {store: _items(platform, store) for store in stores}
    time.sleep(seconds)
    last, took = {store: _items(platform, store) for store in stores}, time.monotonic() - begun
    return {store: (last[store] - first[store]) / took for store in stores}


def _items(platform: Platform, store: str) -> float:
    url = platform.endpoints()["roles"][f"router-{store}"]["health"]
    token = (platform.data_dir / "token").read_text().strip()
    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10.0) as answer:
        text = answer.read().decode()
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return sum(s.value for s in samples if s.name == "heliograph_router_items_total")


def _watch(pid: int, pss: list[int], stop: threading.Event, tell: Callable[[str], None]) -> None:
    while not stop.wait(1.0):
        pss.append(_pss_bytes(pid))
        tell(f"{len(pss):4d} s  {pss[-1] / MIB:6.1f} MiB")


def _pss_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _shown(rates: dict[str, float]) -> str:
    return ", ".join(f"{store} {rate:.0f} items/s" for store, rate in rates.items())


def main() -> int:
    """Exit status 0 when the others kept 0.9 of their rate, the memory stayed within 1.2 of its budget, and nothing was lost."""
    from .real_engines import RealServers

    parser = argparse.ArgumentParser(prog="python -m tests.oracle.bulkhead", description=__doc__)
    parser.add_argument("--store", choices=STORES, default="search")
    parser.add_argument("--seconds", type=float, default=300.0)
    args = parser.parse_args()
    engines = RealServers.start().fresh("bulkhead")
    server = {"search": "elasticsearch", "archive": "s3", "tsdb": "cassandra"}[args.store]
    with tempfile.TemporaryDirectory(prefix="heliograph-bulkhead-") as folder:
        found = bulkhead(
            args.store, server, Path(folder), engines, args.seconds, lambda text: print(f"  {text}", flush=True)
        )
    kept = {store: found.kept(store) for store in STORES if store != args.store}
    for store, share in kept.items():
        print(
            f"{store}: {found.before[store]:.0f} items/s before, {found.during[store]:.0f} while {server} was away: {share:.2f}"
        )
    budget = (found.pss_before_bytes + BYTES_BUDGET) / MIB
    print(
        f"router-{args.store}: at most {max(found.pss_bytes) / MIB:.1f} MiB PSS of {budget:.1f} MiB: {found.pss_share:.2f}"
    )
    for each in found.verdicts:
        print(f"  {each}")
    good = min(kept.values()) >= 0.9 and found.pss_share <= 1.2 and all(v.good for v in found.verdicts)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
