"""The agent: sources in threads of one process, one outbox, one bus, and a spool for when that is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bus.port import Bus
from bus.registry import Registry, RegistryError
from collectors.bundles import TOPICS
from collectors.drops import Drops
from collectors.file_follow import FollowConfig
from collectors.files import FileSource
from collectors.host import HostSource
from collectors.outbox import Outbox
from collectors.port import Source
from collectors.receiver_source import ReceiverSource
from collectors.runner import Runner
from collectors.spooled_bus import SpooledBus
from heliograph import contracts
from heliograph.identity import ProducerIdentity
from heliograph.spool import Spool

log = logging.getLogger(__name__)

_TICK_S = 0.25
_SILENCE_MAX_S = 30.0
_REGISTER_EVERY_S = 5.0
_STOP_S = 5.0
_SOURCES_STOP_S = 4.0
_SPOOL_STOP_S = 1.0
_FACTS_BYTES_MAX = 16 * 1024 * 1024
"""A segment of the spool is 4 MiB, and facts of the smallest batches are as large as these."""


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """Where batches wait while the bus is away."""

    folder: Path
    """Made when missing, for one agent alone."""
    bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Settings of the agent."""

    state_dir: Path
    """Where files.db and digests.db live; made when missing, for one agent alone."""
    hostname: str
    """host.name of log files, instance of the host's metrics."""
    host_interval_s: float = 15.0
    """Between two readings of the host; 0 reads no host metrics."""
    follow: tuple[FollowConfig, ...] = ()
    otlp_host: str = "127.0.0.1"
    otlp_port: int = 4318
    """0 means a free one, negative no receiver."""
    otlp_token: str | None = field(default=None, repr=False)
    """Asked for when `otlp_host` is not loopback."""
    outbox_bytes_max: int = 64 * 1024 * 1024
    spool: SpoolConfig | None = None


class Agent:
    """Collects until it is told to stop. Raises ReceiverError at once when the settings cannot be.

    The bus must have its topics; it and the registry may be away.
    """

    def __init__(
        self,
        config: AgentConfig,
        bus: Bus,
        registry: Registry,
        *,
        pids: Callable[[], Mapping[str, int]] = dict,
        clock: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config = config
        self._registry = registry
        self._clock = clock
        self._time_ns = time_ns
        self._mint = ProducerIdentity().mint
        self._on_ready: Callable[[int], None] = lambda port: None
        self._spooled = self._make_spooled(config.spool, bus) if config.spool else None
        self._outbox = Outbox(self._spooled or bus, bytes_max=config.outbox_bytes_max, clock=clock)
        self._drops = Drops(self._outbox, self._mint, time_ns, _FACTS_BYTES_MAX)
        self._runners: list[Runner] = []
        try:
            self._sources = self._make_sources(pids)
        except BaseException:
            self._outbox.close(0)
            raise

    def run(self, stop: threading.Event, beat: Callable[[], None], on_ready: Callable[[int], None]) -> None:
        """Collect until `stop`, then drain within 5 s. Calls `beat` while every source is well, and `on_ready` with the receiver's
        port each time it has begun to listen, from another thread. Call it once."""
        self._on_ready = on_ready
        if self._spooled is not None:
            self._spooled.start()
        self._runners = [Runner(source, stop, self._clock) for source in self._sources]
        for runner in self._runners:
            runner.start()
        register_at: float | None = self._clock()
        while not stop.wait(_TICK_S):
            if all(runner.is_well(_SILENCE_MAX_S) for runner in self._runners):
                beat()
            if register_at is not None and self._clock() >= register_at:
                register_at = None if self._register() else self._clock() + _REGISTER_EVERY_S
            self._drops.flush()
        self._drain(beat)

    def status(self) -> dict[str, dict[str, int | float | str]]:
        """Counters and gauges by source; `outbox` and, where there is one, `spool` among them. From any thread."""
        outbox: dict[str, int | float | str] = {
            "bytes_held": self._outbox.bytes_held,
            "is_failing": int(self._outbox.is_failing),
            "dropped_batches": self._drops.dropped,
            "forgotten_facts": self._drops.forgotten,
        }
        spool = {} if self._spooled is None else {"spool": self._spooled.status()}
        return {**{runner.source.name: runner.status() for runner in self._runners}, "outbox": outbox, **spool}

    def _make_spooled(self, config: SpoolConfig, bus: Bus) -> SpooledBus:
        # The facts go through the outbox, which is made after this: so they are looked up when there is one to tell.
        spool = Spool(
            config.folder,
            bytes_max=config.bytes_max,
            dropped=lambda messages, reason: self._drops.gave_way(messages, reason),
            time_ns=self._time_ns,
        )
        return SpooledBus(bus, spool, lambda messages: self._drops.note(messages, "refused"), time_ns=self._time_ns)

    def _make_sources(self, pids: Callable[[], Mapping[str, int]]) -> list[Source]:
        config = self._config
        sources: list[Source] = []
        if config.otlp_port >= 0:
            sources.append(
                ReceiverSource(
                    config.otlp_host,
                    config.otlp_port,
                    config.otlp_token,
                    self._outbox,
                    self._registry,
                    self._drops,
                    self._mint,
                    digests_path=config.state_dir / "digests.db",
                    time_ns=self._time_ns,
                    on_ready=lambda p: self._on_ready(p),
                )
            )
        if config.host_interval_s > 0:
            sources.append(
                HostSource(
                    self._outbox,
                    self._drops,
                    self._mint,
                    hostname=config.hostname,
                    interval_s=config.host_interval_s,
                    pids=pids,
                    clock=self._clock,
                    time_ns=self._time_ns,
                )
            )
        if config.follow:
            sources.append(
                FileSource(
                    config.follow,
                    config.state_dir / "files.db",
                    self._outbox,
                    self._mint,
                    hostname=config.hostname,
                    clock=self._clock,
                    time_ns=self._time_ns,
                )
            )
        return sources

    def _register(self) -> bool:
        """Make our schemas known; False when the registry cannot be asked now, which stops nobody."""
        try:
            for topic in TOPICS:
                schema = contracts.schema(contracts.topics()[topic].schema)
                contracts.learn(schema, self._registry.register(f"{topic}-value", schema))
        except RegistryError as error:
            log.warning("schemas are not registered yet: %s", error)
            return False
        return True

    def _drain(self, beat: Callable[[], None]) -> None:
        ends_at = self._clock() + _STOP_S
        sources_end_at = self._clock() + _SOURCES_STOP_S
        for runner in self._runners:
            beat()
            if not runner.join(sources_end_at - self._clock()):
                log.warning("source %s did not stop in time", runner.source.name)
        self._drops.flush()
        beat()
        if self._spooled is not None:
            self._spooled.hurry()
        self._outbox.close(max(0.5, ends_at - self._clock()))
        if self._spooled is not None:
            self._spooled.close(_SPOOL_STOP_S)
        lost = self._drops.waiting + self._drops.forgotten
        if lost:
            log.warning("%d batches were dropped and the ledger could not be told, because the bus was away", lost)
