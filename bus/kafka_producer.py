"""Appends to Kafka and waits for the acknowledgement, from several threads through one client."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from bus.errors import BusUnavailableError
from bus.kafka_errors import Voice, error_of
from bus.kafka_settings import KafkaSettings
from heliograph.message import Message

_SERVE_S: Final = 0.2
_MARGIN_S: Final = 5.0


class _Delivery:
    """The messages of one call on their way."""

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self.error: KafkaError | None = None
        self.done = threading.Event()
        self._left = count
        self._lock = threading.Lock()

    def report(self, index: int, error: KafkaError | None, message: Any) -> None:
        """librdkafka's `on_delivery`."""
        with self._lock:
            if error is not None:
                self.error = self.error or error
            else:
                self.offsets[index] = message.offset()
            self._left -= 1
            if self._left == 0:
                self.done.set()


class KafkaProducer:
    """One idempotent producer; made anew when librdkafka says that it cannot go on."""

    def __init__(self, settings: KafkaSettings, voice: Voice) -> None:
        self._settings = settings
        self._voice = voice
        self._lock = threading.Lock()
        self._client = self._connect()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-deliveries", daemon=True)
        self._thread.start()

    def produce(self, messages: Sequence[Message]) -> list[int]:
        """Their offsets, once all are acknowledged. Raises BusUnavailableError; then any may be in the log."""
        doing = f"appending {len(messages)} messages to {messages[0].topic}"
        delivery = _Delivery(len(messages))
        deadline = time.monotonic() + self._settings.delivery_timeout_s + _MARGIN_S
        client = self._client
        try:
            for index, message in enumerate(messages):
                self._enqueue(client, message, partial(delivery.report, index), deadline)
        except (KafkaException, BufferError) as error:
            self._replace_if_broken(client, error_of(error))
            raise self._failed(error, doing) from error
        if not delivery.done.wait(max(deadline - time.monotonic(), 0.0)):
            raise BusUnavailableError(f"{doing}: no acknowledgement in {self._settings.delivery_timeout_s:.0f} s")
        if delivery.error is not None:
            self._replace_if_broken(client, delivery.error)
            raise self._failed(KafkaException(delivery.error), doing)
        self._voice.answered()
        return delivery.offsets

    def close(self) -> None:
        """Give up what is on its way. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        self._client.purge()
        self._client.flush(_SERVE_S)

    def _connect(self) -> Producer:
        return Producer(self._settings.producer() | {"error_cb": self._voice.hear})

    def _enqueue(self, client: Producer, message: Message, report: Any, deadline: float) -> None:
        while True:
            try:
                client.produce(
                    message.topic,
                    message.body,
                    partition=message.partition,
                    headers=list(message.headers),
                    on_delivery=report,
                )
                return
            except BufferError:  # noqa: PERF203 - room is waited for, message by message
                # The queue is full: room comes with the next acknowledgement.
                if time.monotonic() > deadline:
                    raise
                client.poll(_SERVE_S / 10)

    def _failed(self, error: Exception, doing: str) -> BusUnavailableError:
        # Whatever it was, a part of the call may be in the log, so it is never the caller's fault.
        return BusUnavailableError(str(self._voice.told(error, doing)))

    def _replace_if_broken(self, client: Producer, error: KafkaError | None) -> None:
        if error is None or not (error.fatal() or error.code() == KafkaError._FATAL):
            return
        with self._lock:
            if self._client is client:
                client.purge()
                client.flush(_SERVE_S)
                self._client = self._connect()

    def _serve(self) -> None:
        while not self._closed.is_set():
            client = self._client
            try:
                client.poll(_SERVE_S)
            except KafkaException as error:
                # Whoever waits for a delivery hears of it there.
                self._replace_if_broken(client, error_of(error))
                self._closed.wait(_SERVE_S)
