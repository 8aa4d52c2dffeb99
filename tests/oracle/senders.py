"""Senders that note what was acknowledged: batches by the client's transport, lines of a followed file, and OTLP requests."""

from __future__ import annotations

import gzip
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from heliograph.agent_transport import AgentTransport
from heliograph.errors import UnavailableError
from heliograph.identity import ProducerIdentity

from .issued import Issued, Issuer, body_of

SEND_TIMEOUT_S = 5.0
PAUSE_S = 0.02


class Noted:
    """Ids by what became of them; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acknowledged: set[str] = set()
        self.issued: set[str] = set()

    def issue(self, ids: tuple[str, ...]) -> None:
        with self._lock:
            self.issued.update(ids)

    def acknowledge(self, ids: tuple[str, ...]) -> None:
        with self._lock:
            self.acknowledged.update(ids)


def send_batches(seed: int, endpoint: str, noted: Noted, stop: threading.Event, give_up_s: float = 60.0) -> None:
    """Seal and send until told to stop; an ambiguous send is repeated with the same bytes until it is acknowledged."""
    identity = ProducerIdentity()
    issuer = Issuer(seed, identity.mint, time.time_ns)
    transport = AgentTransport(endpoint)
    while not stop.is_set():
        for batch in (*issuer.logs(), *issuer.spans(), *issuer.metrics()):
            noted.issue(batch.ids)
            if _send(transport, batch, give_up_s):
                noted.acknowledge(batch.ids)
        stop.wait(PAUSE_S)
    transport.close()


def _send(transport: AgentTransport, batch: Issued, give_up_s: float) -> bool:
    message, end = batch.message, time.monotonic() + give_up_s
    while True:
        try:
            transport.send([message], SEND_TIMEOUT_S)
            return True
        except UnavailableError:
            if time.monotonic() > end:
                return False
            message = message.again()
            threading.Event().wait(PAUSE_S)


def write_lines(seed: int, path: Path, noted: Noted, stop: threading.Event) -> None:
    """Append lines to a followed file, a rotation now and then; a line is acknowledged once it is in the file."""
    chooser = random.Random(f"lines {seed}")
    count = 0
    while not stop.is_set():
        with path.open("ab") as file:
            for _ in range(chooser.randint(1, 40)):
                line_id, count = f"{seed}-line-{count}", count + 1
                noted.issue((line_id,))
                file.write(body_of(line_id).encode() + b"\n")
                file.flush()
                noted.acknowledge((line_id,))
        if chooser.random() < 0.02:
            path.rename(path.with_name(f"{path.name}.{count}"))
        stop.wait(PAUSE_S)


def post_otlp(seed: int, endpoint: str, noted: Noted, stop: threading.Event) -> None:
    """Post OTLP log requests; one that fails is not sent again, so that it is found at most once."""
    count = 0
    while not stop.is_set():
        record_id, count = f"{seed}-otlp-{count}", count + 1
        noted.issue((record_id,))
        if _post(endpoint, _request(seed, [record_id]), compress=count % 2 == 0):
            noted.acknowledge((record_id,))
        stop.wait(PAUSE_S)


def post_load(seed: int, endpoint: str, noted: Noted, stop: threading.Event, records: int, pause_s: float) -> None:
    """Post OTLP log requests of so many records of 2 KB each, with pauses; one that fails is not sent again."""
    chooser = random.Random(f"load {seed}")
    count = 0
    while not stop.is_set():
        ids = tuple(f"{seed}-otlp-{number}" for number in range(count, count + records))
        count += records
        noted.issue(ids)
        if _post(endpoint, _request(seed, ids, chooser.randbytes(1000).hex()), compress=False):
            noted.acknowledge(ids)
        stop.wait(pause_s)


def _request(seed: int, ids: Sequence[str], payload: str = "") -> bytes:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = f"oracle-otlp-{seed}"
    scope = resource.scope_logs.add()
    for record_id in ids:
        record = scope.log_records.add(time_unix_nano=time.time_ns(), severity_number=9)
        record.body.string_value = body_of(record_id)
        record.attributes.add(key="oracle.id").value.string_value = record_id
        if payload:
            record.attributes.add(key="payload").value.string_value = payload
    return request.SerializeToString()


def _post(endpoint: str, data: bytes, *, compress: bool) -> bool:
    headers = {"Content-Type": "application/x-protobuf"}
    if compress:
        data, headers["Content-Encoding"] = gzip.compress(data), "gzip"
    request = urllib.request.Request(endpoint + "/v1/logs", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=SEND_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def started(target: Callable[..., None], *args: object) -> threading.Thread:
    """A running thread."""
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread
