"""What Kafka's errors mean to the bus, and what is said of them."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from bus.errors import BusError, BusUnavailableError, FencedError, UnknownTopicError

_log = logging.getLogger(__name__)

REPLACED: Final = frozenset({KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED, KafkaError._FATAL})
"""Another life of the same member has taken this one's place."""
_FENCED: Final = REPLACED | {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError._ASSIGNMENT_LOST,
}
_UNKNOWN: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
TOO_OLD: Final = "the brokers are older than 2.8, which is the least that is supported"
_USER: Final = "check the user name, the password and the mechanism"
_ADVICE: Final = {
    KafkaError._AUTHENTICATION: _USER,
    KafkaError.SASL_AUTHENTICATION_FAILED: _USER,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: _USER,
    KafkaError._SSL: "check the certificates and that the port speaks TLS",
    KafkaError._RESOLVE: "check the names in `bootstrap`",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this user the right to the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give this user the right to the group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give this user the right to the cluster",
    KafkaError.INVALID_SESSION_TIMEOUT: "choose a session timeout within the brokers' group.min/max.session.timeout.ms",
    KafkaError.UNSUPPORTED_VERSION: TOO_OLD,
    KafkaError._UNSUPPORTED_FEATURE: TOO_OLD,
    KafkaError.POLICY_VIOLATION: "make the topic yourself as the cluster's policy wants it",
}
_FAULTS: Final = frozenset(_ADVICE) - {KafkaError._RESOLVE}
"""No retry mends these; `_SSL` only when a handshake of one's own fails likewise."""


def error_of(error: BaseException) -> KafkaError | None:
    """Kafka's own error of an exception."""
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return error.args[0]
    return None


def told(error: KafkaError, doing: str) -> BusError:
    """As an error of the bus."""
    code = error.code()
    if code in _FENCED:
        return FencedError(f"{doing}: the group has moved on ({error.name()})")
    if code in _UNKNOWN:
        return UnknownTopicError(f"{doing}: no such topic or partition; it is not in topics.yaml, or not created yet")
    return BusUnavailableError(f"{doing}: {sentence(error)}")


def sentence(error: KafkaError) -> str:
    """One sentence: what Kafka says, and what to do where that is known."""
    advice = _ADVICE.get(error.code())
    said = " ".join(str(error.str() or error.name()).split())
    return f"Kafka says {error.name()}: {said}" + (f"; {advice}" if advice else "")


def is_fault(error: KafkaError) -> bool:
    """Whether the operator has to change something."""
    return error.code() in _FAULTS


class Voice:
    """Hears librdkafka's error callbacks, and logs one line per change; safe from several threads."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._lock = threading.Lock()
        self._last: KafkaError | None = None
        self._fault: KafkaError | None = None

    @property
    def fault(self) -> KafkaError | None:
        """The last that no retry mends, unless something has succeeded since."""
        return self._fault

    def hear(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`."""
        with self._lock:
            # The reason comes before or after `all brokers down`, and says more.
            if self._last is not None and error.code() in (KafkaError._ALL_BROKERS_DOWN, self._last.code()):
                return
            self._last = error
            self._fault = error if is_fault(error) else self._fault
        _log.warning("kafka %s: %s", self._bootstrap, sentence(error))

    def answered(self) -> None:
        """Something succeeded."""
        if self._last is None:
            return
        with self._lock:
            was, self._last, self._fault = self._last, None, None
        if was is not None:
            _log.info("kafka %s answers again", self._bootstrap)

    def told(self, error: BaseException, doing: str) -> BusError:
        """An exception as an error of the bus, with the reason that was heard when it is only a timeout."""
        said = error_of(error)
        heard = self._last
        if said is not None and said.code() not in (
            KafkaError._TIMED_OUT,
            KafkaError._TRANSPORT,
            KafkaError._MSG_TIMED_OUT,
        ):
            return told(said, doing)
        if heard is not None:
            return BusUnavailableError(f"{doing}: {sentence(heard)}")
        if said is not None:
            return told(said, doing)
        what = "no answer in time" if isinstance(error, (TimeoutError, FutureTimeoutError)) else str(error)
        return BusUnavailableError(f"{doing}: {what} from {self._bootstrap}")
