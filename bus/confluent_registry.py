"""The schema registry by Confluent's HTTP API."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from bus import tls_fault
from bus.registry import IncompatibleSchemaError, RegistryConfigError, RegistryUnavailableError, UnknownSchemaError
from bus.tls import Tls
from heliograph.contracts import Schema, schema_from_text

_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_COMPATIBILITY: Final = "FULL_TRANSITIVE"
_NEGATIVE_COUNT_MAX: Final = 10_000
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class ConfluentRegistry:
    """The Registry port. What an id stands for is remembered for ever; that it is unknown, or nobody answers, for a moment only."""

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str = "",
        tls: Tls | None = None,
        timeout_s: float = 5.0,
        negative_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` as http(s)://host:port/path; `negative_s` is how long nothing is asked again after a refusal or an outage.

        Raises RegistryConfigError when the url is none, or a file of `tls` cannot be used.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise RegistryConfigError("the registry's url must begin with http:// or https:// and name a host")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._tls = tls or Tls()
        self._context = _context(self._tls) if self._secure else None
        self._timeout_s = timeout_s
        self._negative_s = negative_s
        self._clock = clock
        self._headers = {"Content-Type": _CONTENT_TYPE, "Accept": _CONTENT_TYPE}
        if user is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._lock = threading.Lock()
        self._schemas: dict[int, Schema] = {}
        self._ids: dict[tuple[str, bytes], int] = {}
        self._unknown_until: dict[int, float] = {}
        self._away: tuple[float, str] = (float("-inf"), "")

    def check(self) -> None:
        """Whether a registry is there and lets us in. Raises RegistryConfigError with what to do, RegistryUnavailableError."""
        where = f"{self._host}:{self._port}" if self._port else self._host
        try:
            status, answer = self._exchange("GET", "/schemas/types", None)
        except ssl.SSLError as error:
            why = tls_fault.sentence(error, where, self._tls)
            if why is not None:
                raise RegistryConfigError(f"the schema registry: {why}") from error
            raise self._gone(f"the schema registry at {self._host} does not answer: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(f"the schema registry at {self._host} does not answer: {error}") from error
        except ValueError as error:
            raise RegistryConfigError(f"what answers at {where} is no schema registry: check its url") from error
        if status in (401, 403):
            raise RegistryConfigError(
                f"the schema registry at {where} refuses this user: check the name and the password"
            )
        if status >= 500 or status == 429:
            raise self._gone(f"the schema registry at {self._host} is in trouble: {status} {_message(answer)}")
        if status != 200 or not isinstance(answer, list):
            raise RegistryConfigError(f"what answers at {where} is no schema registry: check its url, path included")

    def register(self, subject: str, schema: Schema) -> int:
        known = self._ids.get((subject, schema.fingerprint))
        if known is not None:
            return known
        path, body = f"/subjects/{quote(subject, safe='')}", {"schema": schema.text}
        status, answer = self._ask("POST", path, body)
        if status != 200:
            self._demand_compatibility(f"/config/{quote(subject, safe='')}")
            status, answer = self._ask("POST", f"{path}/versions", body)
            if status in (409, 422):
                raise IncompatibleSchemaError(f"{subject}: {_message(answer)}")
        schema_id = int(self._expect(status, answer)["id"])
        with self._lock:
            self._ids[subject, schema.fingerprint] = schema_id
        return schema_id

    def schema(self, schema_id: int) -> Schema:
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        with self._lock:
            if self._clock() < self._unknown_until.get(schema_id, float("-inf")):
                raise UnknownSchemaError(schema_id)
        status, answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        if status == 404:
            self._remember_unknown(schema_id)
            raise UnknownSchemaError(schema_id)
        text = str(self._expect(status, answer)["schema"])
        try:
            found = schema_from_text(str(json.loads(text)["name"]), text)
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryUnavailableError(
                f"the registry's schema {schema_id} is not an Avro record: {error}"
            ) from error
        with self._lock:
            self._unknown_until.pop(schema_id, None)
            return self._schemas.setdefault(schema_id, found)

    def versions(self, subject: str) -> Mapping[int, int]:
        path = f"/subjects/{quote(subject, safe='')}/versions"
        status, answer = self._ask("GET", path)
        if status == 404:
            return {}
        numbers = [int(version) for version in self._expect(status, answer)]
        return {n: int(self._expect(*self._ask("GET", f"{path}/{n}"))["id"]) for n in sorted(numbers)}

    def _demand_compatibility(self, path: str) -> None:
        status, answer = self._ask("PUT", path, {"compatibility": _COMPATIBILITY})
        if status == 409:
            # Another producer registers the same subject now; what counts is what the registry then says.
            said = self._expect(*self._ask("GET", path))
            if said.get("compatibilityLevel") == _COMPATIBILITY:
                return
        self._expect(status, answer)

    def _remember_unknown(self, schema_id: int) -> None:
        with self._lock:
            if len(self._unknown_until) >= _NEGATIVE_COUNT_MAX:
                self._unknown_until.clear()
            self._unknown_until[schema_id] = self._clock() + self._negative_s

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and parsed answer; an outage is remembered, so that it costs one timeout and not one per caller."""
        until, reason = self._away
        if self._clock() < until:
            raise RegistryUnavailableError(reason)
        try:
            status, answer = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._gone(f"the schema registry at {self._host} does not answer: {error}") from error
        if status in (401, 403):
            raise self._gone(f"the schema registry at {self._host} refuses this user: check the name and the password")
        if status >= 500 or status == 429:
            raise self._gone(f"the schema registry at {self._host} is in trouble: {status} {_message(answer)}")
        return status, answer

    def _gone(self, reason: str) -> RegistryUnavailableError:
        self._away = (self._clock() + self._negative_s, reason)
        return RegistryUnavailableError(reason)

    def _exchange(self, method: str, path: str, body: object) -> tuple[int, Any]:
        connection = self._connect()
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, self._path + path, data, self._headers)
            response = connection.getresponse()
            answer = response.read(_ANSWER_BYTES_MAX + 1)
            if len(answer) > _ANSWER_BYTES_MAX:
                raise ValueError(f"its answer is larger than {_ANSWER_BYTES_MAX} bytes")
            return response.status, _parsed(answer, response.status)
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _expect(self, status: int, answer: Any) -> Any:
        if status != 200:
            raise RegistryUnavailableError(f"the schema registry at {self._host} says {status}: {_message(answer)}")
        return answer


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        return tls.context()
    except OSError as error:
        raise RegistryConfigError(f"the schema registry: the files of `tls` cannot be used: {error}") from error


def _parsed(answer: bytes, status: int) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        if status == 200:
            raise
        return None


def _message(answer: Any) -> str:
    said = answer.get("message") if isinstance(answer, dict) else None
    return " ".join(str(said or "no reason given").split())[:1000]
