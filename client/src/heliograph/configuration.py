"""`configure`: one call that sends an application's spans, metrics and logs to Heliograph."""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from . import sdk_providers
from .delivery import Statistics
from .exporters import Outlet
from .logging_handler import HeliographHandler
from .producer import EXIT_FLUSH_S, Producer
from .sources import INSTANCE_ID, Overlay, Sources
from .transport_choice import Choice, Wanted, choose, open_transport

_log = logging.getLogger("heliograph")


@dataclass(frozen=True, slots=True)
class _Settings:
    attributes: tuple[tuple[str, str], ...]
    choice: Choice = field(repr=False)
    logging_level: int


class Handle:
    """What `configure` gives back: flushes and shuts down what it set up. Both return by their deadline, server or none."""

    def __init__(self, session: _Session | None, producer: Producer | None) -> None:
        self._session = session
        self._producer = producer

    @property
    def enabled(self) -> bool:
        """False when OTEL_SDK_DISABLED is true."""
        return self._session is not None

    @property
    def statistics(self) -> Statistics | None:
        """What has become of this process' batches; None when disabled."""
        return self._producer.statistics if self._producer else None

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Send all that was recorded before; False when that takes longer."""
        return self._session is None or self._session.flush(self, timeout_s)

    def shutdown(self, timeout_s: float = EXIT_FLUSH_S) -> bool:
        """Flush, then stop; False when something had to be given up. `configure` may be called again afterwards."""
        return self._session is None or self._session.shutdown(self, timeout_s)


class _Session:
    """The one set of SDK providers that a process has; the SDK allows no second one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._providers: sdk_providers.Providers | None = None
        self._outlet: Outlet | None = None
        self._handler: HeliographHandler | None = None
        self._settings: _Settings | None = None
        self._handle: Handle | None = None
        self._first_names: frozenset[str] = frozenset()

    def configure(self, settings: _Settings) -> Handle:
        with self.lock:
            if self._handle and settings == self._settings:
                return self._handle
            if self._handle:
                _log.warning("heliograph.configure was called again with other settings; these hold from now on.")
            producer = self._producer_for(settings)
            self._connect(producer, settings)
            self._listen(settings.logging_level)
            self._settings = settings
            self._handle = Handle(self, producer)
            return self._handle

    def flush(self, handle: Handle, timeout_s: float) -> bool:
        deadline_s = sdk_providers.deadline(timeout_s)
        collected = self._collect(timeout_s / 2) if handle is self._handle else True
        return handle._producer is None or (handle._producer.flush(sdk_providers.left(deadline_s)) and collected)

    def shutdown(self, handle: Handle, timeout_s: float) -> bool:
        deadline_s = sdk_providers.deadline(timeout_s)
        collected = True
        if handle is self._handle:
            collected = self._collect(timeout_s / 2)
            self._forget_handle()
        producer = handle._producer
        return producer is None or (producer.shutdown(sdk_providers.left(deadline_s)) and collected)

    def at_exit(self) -> None:
        if self._handle:
            self._handle.shutdown(EXIT_FLUSH_S)

    def _collect(self, timeout_s: float) -> bool:
        return self._providers is None or self._providers.collect(timeout_s)

    def _forget_handle(self) -> None:
        if self._handler:
            logging.getLogger().removeHandler(self._handler)
        self._handler = None
        self._handle = None
        self._settings = None

    def _producer_for(self, settings: _Settings) -> Producer:
        old = self._settings
        if old and old.choice == settings.choice and self._outlet:
            return self._outlet.producer
        return Producer(open_transport(settings.choice))

    def _connect(self, producer: Producer, settings: _Settings) -> None:
        attributes = dict(settings.attributes)
        if self._outlet is None:
            self._outlet = Outlet(producer, Sources())
            self._providers = sdk_providers.install(attributes, self._outlet)
            self._first_names = frozenset(attributes)
            atexit.register(self.at_exit)
            multiprocessing.util.register_after_fork(self, _flush_at_end_of_child)
        # A forked child has an instance id of its own, which nothing here may overrule.
        overlay = {key: value for key, value in attributes.items() if key != INSTANCE_ID}
        self._outlet.sources.overlay = Overlay(overlay, self._first_names - set(attributes))
        self._outlet.producer = producer

    def _listen(self, level: int) -> None:
        root = logging.getLogger()
        if self._handler:
            root.removeHandler(self._handler)
        self._handler = HeliographHandler(level, self._providers.logger_provider if self._providers else None)
        root.addHandler(self._handler)


def configure(
    service_name: str | None = None,
    *,
    endpoint: str | None = None,
    brokers: str | None = None,
    service_version: str | None = None,
    environment: str | None = None,
    logging_level: int | str = logging.INFO,
    resource_attributes: Mapping[str, str] | None = None,
    transport: Wanted = "auto",
) -> Handle:
    """Send spans, metrics and the standard library's logs, those of `logging_level` and above, to Kafka's `brokers`, else to
    the agent at `endpoint`.

    An argument comes before its environment variable, as that is now: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
    HELIOGRAPH_KAFKA_BROKERS, HELIOGRAPH_ENDPOINT (default http://127.0.0.1:4318). With OTEL_SDK_DISABLED=true nothing is set up.
    The level of loggers is not changed. The same settings again give the same handle; others take the place of the first, with a
    warning. `transport` is "auto" as said above, "agent", "kafka", or one of your own, in tests for instance. Connects to nothing:
    a server that is away is no error. Raises ValueError when an argument is wrong, ImportError when `brokers` are given without
    the library for Kafka (`heliograph[kafka]`).
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Handle(None, None)
    attributes = {"host.name": socket.gethostname()} | sdk_providers.environment_attributes()
    attributes |= resource_attributes or {}
    named = {
        "service.name": service_name,
        "service.version": service_version,
        "deployment.environment.name": environment,
    }
    attributes |= {key: value for key, value in named.items() if value}
    choice = choose(transport, endpoint, brokers)
    settings = _Settings(tuple(sorted(attributes.items())), choice, _level(logging_level))
    return _session.configure(settings)


def _level(level: int | str) -> int:
    found = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(found, int):
        raise ValueError(f"logging_level must be a level such as 'INFO' or logging.INFO, not {level!r}")
    return found


def _flush_at_end_of_child(session: _Session) -> None:
    # Children of multiprocessing end by os._exit, which passes atexit over.
    end: Callable[[], None] = session.at_exit
    multiprocessing.util.Finalize(None, end, exitpriority=0)


def _renew_lock() -> None:
    _session.lock = threading.RLock()


_session = _Session()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
