"""Whether a cluster can be used as it is set up, found out at start: what no retry mends is a BusConfigError."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from bus import tls_fault
from bus.errors import BusConfigError, BusUnavailableError
from bus.kafka_errors import Voice, error_of, is_fault, sentence
from bus.kafka_settings import KafkaSettings

_LOOK_S: Final = 0.05
_GRACE_S: Final = 2.0
"""How long other brokers may answer after one has refused us."""
_PROBE_S: Final = 3.0
_PORT: Final = 9092


def check_cluster(admin: AdminClient, settings: KafkaSettings, voice: Voice) -> None:
    """Ask who is there. Raises BusConfigError, BusUnavailableError."""
    doing = f"connecting to {settings.bootstrap}"
    with at_start(settings, voice):
        try:
            asked = admin.describe_cluster(request_timeout=settings.request_timeout_s)
            _wait(asked, settings.request_timeout_s + 1.0, lambda: voice.fault is not None)
            asked.result(0)
        except Exception as error:
            raise voice.told(error, doing) from error
    voice.answered()


@contextmanager
def at_start(settings: KafkaSettings, voice: Voice) -> Iterator[None]:
    """What goes wrong within is a BusConfigError when no retry can mend it."""
    try:
        yield
    except BusUnavailableError as error:
        said = error_of(error.__cause__) if error.__cause__ else None
        fault = said if said is not None and is_fault(said) else voice.fault
        why = sentence(fault) if fault is not None and fault.code() != KafkaError._SSL else _tls_fault(settings)
        if why is None:
            raise
        raise BusConfigError(f"Kafka at {settings.bootstrap}: {why}") from error


@contextmanager
def at_making(settings: KafkaSettings) -> Iterator[None]:
    """Around the making of clients, which read the files that the settings name."""
    try:
        yield
    except KafkaException as error:
        said = error_of(error)
        what = " ".join(str(said.str() if said else error).split())
        raise BusConfigError(f"Kafka at {settings.bootstrap}: the settings cannot be used: {what}") from error


def _tls_fault(settings: KafkaSettings) -> str | None:
    if settings.tls is None:
        return None
    # librdkafka does not say what it dislikes of a certificate, or whether the server dislikes ours.
    for host, port in _addresses(settings.bootstrap):
        if (found := tls_fault.probe(host, port, settings.tls, _PROBE_S)) is not None:
            return found
    return None


def _addresses(bootstrap: str) -> Iterator[tuple[str, int]]:
    for one in bootstrap.split(","):
        host, _, port = one.strip().rpartition(":")
        if port.isdecimal():
            yield host.strip("[]"), int(port)
        else:
            yield one.strip(), _PORT


def _wait(future: Future[Any], timeout_s: float, is_refused: Callable[[], bool]) -> None:
    """Return when it is done, too late, or refused for a while."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and not wait([future], _LOOK_S).done:
        if is_refused():
            deadline = min(deadline, time.monotonic() + _GRACE_S)
