"""Requests to Elasticsearch: JSON in, JSON out, and failures told apart by who can mend them."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson
import urllib3
from elastic_transport import (
    ConnectionTimeout,
    NodeConfig,
    RoundRobinSelector,
    Serializer,
    TlsError,
    Transport,
    TransportError,
)

from bus.tls import Tls
from search.elastic_errors import AccessRefusedError, NoAnswerError, reason_of
from search.elastic_node import BYTES_MAX_KEY, BoundedNode
from search.elastic_settings import ElasticSettings
from search.port import SearchConfigError, SearchUnavailableError

_CONNECTIONS: Final = 8
_READ_RETRIES: Final = 2
_JSON: Final = "application/json"
_LINES: Final = "application/x-ndjson"
_DEFAULT_PORTS: Final = {"http": 9200, "https": 9200}


_UNREAD: Final = object()


@dataclass(slots=True)
class Answer:
    """What Elasticsearch, or something on the way to it, said."""

    status: int
    data: bytes
    is_product: bool = True
    """Whether it bears the header that Elasticsearch sets on every answer of its own."""
    _body: Any = field(default=_UNREAD, repr=False)

    @property
    def body(self) -> Any:
        """Of JSON, read when it is first asked for; None when it is something else."""
        if self._body is _UNREAD:
            try:
                self._body = orjson.loads(self.data) if self.data else None
            except orjson.JSONDecodeError:
                self._body = None
        return self._body


class Client(Protocol):
    """What the modules of this store need of a connection."""

    def ask(self, method: str, path: str, body: object = None, wanted: tuple[int, ...] = (200,)) -> Answer:
        """A request that may be repeated. A status that is not wanted raises SearchUnavailableError."""
        ...

    def post_lines(self, path: str, lines: bytes) -> Answer:
        """Newline-delimited JSON, sent once, whatever the status. Raises NoAnswerError when it is unknown what became of it."""
        ...


class ElasticClient:
    """A Client over the vendor's transport, which chooses among nodes. Safe from several threads."""

    def __init__(self, settings: ElasticSettings) -> None:
        """Connects to nothing yet. Raises SearchConfigError when a certificate file cannot be used."""
        context = _context(settings)
        self._where = ", ".join(settings.urls)
        self._transport = Transport(
            [_node(url, settings, context) for url in settings.urls],
            node_class=BoundedNode,
            node_selector_class=RoundRobinSelector,
            serializers={"application/*": _Raw(), "text/*": _Raw(), _JSON: _Raw(), _LINES: _Raw()},
            max_retries=0,
            retry_on_status=(),
            retry_backoff_base=0.1,
            retry_backoff_cap=1.0,
            # A node that failed is tried again soon: with only one there is nothing else to try.
            max_dead_node_backoff=5.0,
        )

    def ask(self, method: str, path: str, body: object = None, wanted: tuple[int, ...] = (200,)) -> Answer:
        encoded = None if body is None else orjson.dumps(body)
        answer = self._perform(method, path, encoded, _JSON, retries=_READ_RETRIES, retry_on=(429, 502, 503, 504))
        if answer.status not in wanted:
            raise self._refusal(answer)
        if not isinstance(answer.body, dict):
            raise NoAnswerError(
                f"{self._where} did not answer with JSON: it is no Elasticsearch, or a proxy spoke for it."
            )
        return answer

    def post_lines(self, path: str, lines: bytes) -> Answer:
        answer = self._perform("POST", path, lines, _LINES, retries=0, retry_on=())
        if answer.status in (401, 403):
            raise self._refusal(answer)
        return answer

    def close(self) -> None:
        """Idempotent."""
        self._transport.close()

    def _perform(
        self, method: str, path: str, body: bytes | None, mime: str, retries: int, retry_on: tuple[int, ...]
    ) -> Answer:
        headers = {"accept": _JSON} if body is None else {"accept": _JSON, "content-type": mime}
        try:
            meta, data = self._transport.perform_request(
                method, path, body=body, headers=headers, max_retries=retries, retry_on_status=retry_on
            )
        except TlsError as error:
            raise AccessRefusedError(_tls_sentence(self._where, error)) from error
        except ConnectionTimeout as error:
            raise NoAnswerError(f"Elasticsearch at {self._where} did not answer in time.") from error
        except TransportError as error:
            raise NoAnswerError(f"Elasticsearch at {self._where} cannot be reached: {_cause(error)}.") from error
        return Answer(meta.status, data, "x-elastic-product" in meta.headers)

    def _refusal(self, answer: Answer) -> SearchUnavailableError:
        reason = reason_of(answer.body)
        match answer.status:
            case 401:
                return AccessRefusedError(
                    f"Elasticsearch at {self._where} refuses the password or API key (401): set a valid one."
                )
            case 403:
                return AccessRefusedError(
                    f"Elasticsearch at {self._where} does not permit this (403): give the user or API key the privileges "
                    f"in docs/formats/elasticsearch.md. It says: {reason}"
                )
            case status if status == 429 or status >= 500:
                return NoAnswerError(f"Elasticsearch at {self._where} answers {status}: {reason or 'no reason given'}.")
            case status:
                return SearchUnavailableError(
                    f"Elasticsearch at {self._where} answers {status}: {reason or 'no reason given'}."
                )


class _Raw(Serializer):
    """Bodies are encoded once, by us, and answers decoded once."""

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> bytes:
        return bytes(data)


def _node(url: str, settings: ElasticSettings, context: ssl.SSLContext | None) -> NodeConfig:
    parts = urlsplit(url)
    host = parts.hostname or ""
    secured = parts.scheme == "https"
    return NodeConfig(
        parts.scheme,
        host,
        parts.port or _DEFAULT_PORTS[parts.scheme],
        path_prefix=parts.path,
        headers=_authorization(settings),
        connections_per_node=_CONNECTIONS,
        request_timeout=settings.request_timeout_s,
        ssl_context=context if secured else None,
        ssl_show_warn=False,
        _extras={BYTES_MAX_KEY: settings.answer_bytes_max},
    )


def _authorization(settings: ElasticSettings) -> dict[str, str]:
    if settings.api_key is not None:
        return {"authorization": f"ApiKey {settings.api_key}"}
    if settings.username is not None:
        pair = f"{settings.username}:{settings.password}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _context(settings: ElasticSettings) -> ssl.SSLContext | None:
    if not any(url.startswith("https:") for url in settings.urls):
        return None
    tls = settings.tls or Tls()
    if not tls.verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        return tls.context()
    except OSError as error:
        raise SearchConfigError(f"A certificate file for Elasticsearch cannot be used: {error}.") from error


def _tls_sentence(where: str, error: TlsError) -> str:
    reason: object = error
    for cause in error.errors:
        inner = cause.args[0] if cause.args and isinstance(cause.args[0], Exception) else cause
        reason = inner.verify_message if isinstance(inner, ssl.SSLCertVerificationError) else inner
    return (
        f"The encrypted connection to {where} cannot be made ({reason}): renew the server's certificate, or give the file "
        "of the authority that signed it."
    )


def _cause(error: TransportError) -> str:
    found = error.errors[-1] if error.errors else error
    return f"{type(found).__name__}: {found}"[:300]
