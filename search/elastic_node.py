"""One node's HTTP connections, with a limit on what an answer may weigh and how long all of it may take."""

from __future__ import annotations

import math
import ssl
import time
from importlib.metadata import version
from typing import Final

import urllib3
from elastic_transport import (
    ApiResponseMeta,
    BaseNode,
    ConnectionError,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    TlsError,
    TransportError,
)
from elastic_transport._node import NodeApiResponse  # what a node returns; the package does not export it
from elastic_transport.client_utils import DEFAULT, DefaultType

from search.elastic_errors import AnswerTooLargeError

BYTES_MAX_KEY: Final = "_heliograph_answer_bytes_max"
"""Under which a node's configuration says how large an answer may be."""
_PART_BYTES: Final = 256 * 1024


class BoundedNode(BaseNode):
    """The transport keeps one for each URL. Safe from several threads."""

    _CLIENT_META_HTTP_CLIENT = ("ur", version("urllib3"))

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._bytes_max = int(config._extras[BYTES_MAX_KEY])
        self._timeout_s = float(config.request_timeout or 30.0)
        self._pool: urllib3.HTTPConnectionPool
        if config.scheme == "https":
            self._pool = urllib3.HTTPSConnectionPool(
                config.host,
                config.port,
                maxsize=config.connections_per_node,
                block=True,
                ssl_context=config.ssl_context,
            )
        else:
            self._pool = urllib3.HTTPConnectionPool(
                config.host, config.port, maxsize=config.connections_per_node, block=True
            )

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """Raises AnswerTooLargeError, or the transport's errors, which let it choose another node."""
        timeout_s = self._timeout_s if isinstance(request_timeout, DefaultType | None) else request_timeout
        sent = self.headers.copy()
        sent.update(headers or {})
        start = time.monotonic()
        try:
            response = self._pool.urlopen(
                method,
                self.path_prefix + target,
                body=body,
                headers=dict(sent.items()),
                retries=False,
                redirect=False,
                timeout=timeout_s,
                pool_timeout=math.ceil(timeout_s),
                preload_content=False,
            )
            data = self._read(response, start + timeout_s)
        except (TransportError, AnswerTooLargeError):
            raise
        except Exception as error:
            raise _as_transport(error) from error
        found = HttpHeaders(dict(response.headers.items()))
        meta = ApiResponseMeta(response.status, "1.1", found, time.monotonic() - start, self.config)
        return NodeApiResponse(meta, data)

    def close(self) -> None:
        self._pool.close()

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.read1(_PART_BYTES):
            size += len(part)
            parts.append(part)
            if size > self._bytes_max or time.monotonic() > deadline:
                # What is left unread would be taken for the next answer.
                response.close()
                response.release_conn()
                if size > self._bytes_max:
                    raise AnswerTooLargeError(f"Elasticsearch's answer is larger than {self._bytes_max} bytes.")
                raise ConnectionTimeout("the answer did not end in time")
        response.release_conn()
        return b"".join(parts)


def _as_transport(error: Exception) -> TransportError:
    if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError):
        return TlsError(str(error), errors=(error,))
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return ConnectionError(str(error), errors=(error,))
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return ConnectionTimeout(str(error), errors=(error,))
    return ConnectionError(str(error), errors=(error,))
