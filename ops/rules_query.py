"""How the rules role asks the query service, over HTTP like everybody else."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from alerts.errors import EvaluationError
from alerts.state import Sample

TIMEOUT_S: Final = 8.0
"""Less than the age at which a role counts as stuck."""
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024


class HttpQuery:
    """Instant queries against `/prometheus/api/v1/query`."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._token = token

    def __repr__(self) -> str:
        return f"HttpQuery({self._host}:{self._port})"

    def __call__(self, expression: str, time_ms: int) -> Sequence[Sample]:
        """The instant vector; a scalar is one sample without labels. Raises EvaluationError."""
        document = self._ask(urlencode({"query": expression, "time": f"{time_ms / 1000:.3f}"}))
        if document.get("status") != "success":
            raise EvaluationError(str(document.get("error", "the query service refused the query")))
        try:
            return _samples(document["data"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise EvaluationError(f"the query service answered what is no instant vector: {error}") from error

    def _ask(self, form: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request("POST", "/prometheus/api/v1/query", form, headers)
            data = connection.getresponse().read(ANSWER_BYTES_MAX + 1)
            if len(data) > ANSWER_BYTES_MAX:
                raise EvaluationError(f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
            document = json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EvaluationError(f"the query service does not answer ({type(error).__name__})") from error
        finally:
            connection.close()
        return document if isinstance(document, dict) else {}


def _samples(data: Any) -> list[Sample]:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [({}, float(result[1]))]
    if kind != "vector":
        raise EvaluationError(f"a rule's expression gives a vector or a scalar, not a {kind}")
    return [
        ({str(k): str(v) for k, v in each["metric"].items()}, float(each["value"][1]))
        for each in result
        if "value" in each
    ]
