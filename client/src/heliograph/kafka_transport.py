"""Transport to Kafka itself, without an agent: the same bytes and headers, acknowledged by all in-sync replicas.

Schema ids are those that the batches were framed with: nothing here asks a registry. Whoever reads them knows the schema by
its fingerprint in the headers.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .errors import RefusedError, UnavailableError
from .kafka_settings import KafkaSettings
from .message import Message

MESSAGE_BYTES_MAX: Final = 1024 * 1024
_RECORD_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 64 * 1024
_QUEUE_KBYTES: Final = 16 * 1024
_POLL_S: Final = 0.05
_Identity = tuple[str, "bytes | None", "bytes | None"]

# librdkafka writes to standard error what no logger takes; its errors are told by the callback already.
_mute = logging.Logger("heliograph.kafka", logging.CRITICAL + 1)
_mute.addHandler(logging.NullHandler())


@dataclass(eq=False)
class _Client:
    """One librdkafka producer of one process. Only `_end` ever destroys it."""

    pid: int
    producer: Any
    heard: str = ""
    """The last error of the connections."""


@dataclass(slots=True, eq=False)
class _Sending:
    """What has become of the messages of one send; touched by the sending thread only, within poll()."""

    left: int
    taken: set[_Identity] = field(default_factory=set)
    refused: list[Any] = field(default_factory=list)
    failed: list[Any] = field(default_factory=list)


class KafkaTransport:
    """Sends to the brokers of `settings`; a forked child connects anew. Raises ImportError without confluent-kafka.

    Connects to nothing before the first `send`.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        if importlib.util.find_spec("confluent_kafka") is None:
            raise ImportError("sending to Kafka needs confluent-kafka: pip install 'heliograph[kafka]'")
        # Here rather than at the first send: a fork in the middle of an import leaves the child a lock that is held for ever.
        import confluent_kafka

        self._kafka: Any = confluent_kafka
        self.settings = settings
        self._client: _Client | None = None
        self._taken: set[_Identity] = set()
        """In the log already, of sends that failed in part."""

    def __repr__(self) -> str:
        return f"KafkaTransport({self.settings!r})"

    def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        """Produce the batches; those of a send that failed in part are not produced twice when it is repeated."""
        deadline = time.monotonic() + timeout_s
        for message in messages:
            if message.size_bytes > MESSAGE_BYTES_MAX:
                raise RefusedError(f"a batch of {message.size_bytes} bytes: Kafka takes at most {MESSAGE_BYTES_MAX}")
        wanted = [message for message in messages if _identity(message) not in self._taken]
        sending = _Sending(len(wanted))
        try:
            self._produce(wanted, sending, deadline)
        except (self._kafka.KafkaException, BufferError) as error:
            self._fail(sending)
            raise UnavailableError(self._told(error)) from error
        if sending.left or sending.failed:
            reason = self._told(sending.failed[0] if sending.failed else "no acknowledgement in time")
            self._fail(sending)
            raise UnavailableError(reason)
        if sending.refused:
            # Those that are in the log are remembered, since all of these come again, one by one; and an idempotent producer
            # does not go on after a refusal.
            reason = self._told(sending.refused[0])
            self._fail(sending)
            raise RefusedError(reason)
        self._taken -= {_identity(message) for message in messages}

    def close(self) -> None:
        """Let the connections go; what has not been acknowledged is given up."""
        client, self._client = self._client, None
        self._taken = set()
        # What a parent left has none of its threads here, and would wait for them for ever: it is never touched.
        if client is not None and client.pid == os.getpid():
            _end(client)

    def _produce(self, wanted: Sequence[Message], sending: _Sending, deadline: float) -> None:
        producer = self._connected().producer
        for message in wanted:
            producer.produce(
                message.topic,
                message.body,
                partition=message.partition,
                headers=list(message.headers),
                on_delivery=self._report(sending, _identity(message)),
            )
        while sending.left and (left_s := deadline - time.monotonic()) > 0:
            producer.poll(min(left_s, _POLL_S))

    def _report(self, sending: _Sending, identity: _Identity) -> Any:
        refusals = (
            self._kafka.KafkaError.MSG_SIZE_TOO_LARGE,
            self._kafka.KafkaError.INVALID_MSG,
            self._kafka.KafkaError.INVALID_RECORD,
        )

        def report(error: Any, _: object) -> None:
            sending.left -= 1
            if error is None:
                sending.taken.add(identity)
            else:
                (sending.refused if error.code() in refusals else sending.failed).append(error)

        return report

    def _connected(self) -> _Client:
        client = self._client
        if client is None or client.pid != os.getpid():
            client = _Client(os.getpid(), None)
            client.producer = self._kafka.Producer(self._config(client), logger=_mute)
            # Destroying it waits for its threads, which an interpreter that is going down must not do.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(client.producer))
            self._client = client
        return client

    def _config(self, client: _Client) -> dict[str, Any]:
        def hear(error: Any) -> None:
            # The reason comes before or after `all brokers down`, and says more.
            if not client.heard or error.code() != self._kafka.KafkaError._ALL_BROKERS_DOWN:
                client.heard = _sentence(error)

        return self.settings.config() | {
            "client.id": "heliograph-client",
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.max.bytes": _RECORD_BYTES_MAX,
            "queue.buffering.max.kbytes": _QUEUE_KBYTES,
            "socket.timeout.ms": 10_000,
            "socket.connection.setup.timeout.ms": 5_000,
            "reconnect.backoff.max.ms": 2_000,
            # A topic that brokers make on demand would have none of the settings that ours need.
            "allow.auto.create.topics": False,
            "topic.metadata.propagation.max.ms": 5_000,
            "log_level": 0,
            "error_cb": hear,
        }

    def _fail(self, sending: _Sending) -> None:
        """The next send begins with another client, so that nothing of this one piles up."""
        taken = self._taken | sending.taken
        self.close()
        self._taken = taken

    def _told(self, error: Any) -> str:
        heard = self._client.heard if self._client else ""
        if isinstance(error, Exception) and error.args:
            error = error.args[0]
        said = _sentence(error) if hasattr(error, "name") else str(error)
        return f"Kafka at {self.settings.brokers}: {said}" + (f" ({heard})" if heard and heard != said else "")


def _identity(message: Message) -> _Identity:
    return message.topic, message.header("hg.producer_id"), message.header("hg.sequence")


def _sentence(error: Any) -> str:
    return f"{error.name()}: {' '.join(str(error.str()).split())}"


def _end(client: _Client) -> None:
    def destroy() -> None:
        producer, client.producer = client.producer, None
        producer.purge(blocking=False)
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(producer))

    # An interpreter that is going down starts no thread; the process takes the connections along.
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=destroy, name="heliograph-kafka-end", daemon=True).start()
