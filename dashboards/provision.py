"""Brings a Grafana to what `content` wants, by grafana-client; a second time changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import requests
from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException

from dashboards.content import Json, data_sources, differences, pipeline
from dashboards.errors import GrafanaAwayError, GrafanaError, GrafanaRefusedError

_NOT_FOUND = 404
_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in Grafana and what becomes of it; `keys` are what differs."""

    kind: Literal["data source", "dashboard"]
    uid: str
    action: Literal["create", "update", "unchanged"]
    keys: tuple[str, ...] = ()


def apply(url: str, auth: str | tuple[str, str], base: str, password: str, *, dry_run: bool = False) -> list[Change]:
    """What was done, or with `dry_run` would be. Raises GrafanaError."""
    with _faults(url):
        api = GrafanaApi.from_url(url, credential=auth)
        health = api.client.GET("/health")
        if not isinstance(health, dict) or "database" not in health:
            raise GrafanaAwayError(f"What answers at {url} is no Grafana: check --url.")
        changes = [_source(api, wanted, password, dry_run) for wanted in data_sources(base)]
        return [*changes, _dashboard(api, pipeline(), dry_run)]


def _source(api: GrafanaApi, wanted: Json, password: str, dry_run: bool) -> Change:
    uid = str(wanted["uid"])
    found = _found(api, f"/datasources/uid/{uid}")
    keys = tuple(differences(wanted, found)) if found is not None else ()
    # Grafana never shows a password, so one that changed is sent only along with another difference.
    body = {**wanted, "secureJsonData": {"basicAuthPassword": password}}
    if found is None:
        if not dry_run:
            api.client.POST("/datasources", json=body)
        return Change("data source", uid, "create")
    if keys and not dry_run:
        api.client.PUT(f"/datasources/uid/{uid}", json=body)
    return Change("data source", uid, "update" if keys else "unchanged", keys)


def _dashboard(api: GrafanaApi, wanted: Json, dry_run: bool) -> Change:
    uid = str(wanted["uid"])
    answer = _found(api, f"/dashboards/uid/{uid}")
    found = answer.get("dashboard") if answer is not None else None
    keys = tuple(differences(wanted, found)) if isinstance(found, dict) else ()
    if found is not None and not keys:
        return Change("dashboard", uid, "unchanged")
    if not dry_run:
        body = {"dashboard": {**wanted, "id": None}, "overwrite": True, "message": "heliograph grafana apply"}
        api.client.POST("/dashboards/db", json=body)
    return Change("dashboard", uid, "create" if found is None else "update", keys)


def _found(api: GrafanaApi, path: str) -> Json | None:
    try:
        found: Json = api.client.GET(path)
    except GrafanaClientError as error:
        if error.status_code == _NOT_FOUND:
            return None
        raise
    return found


@contextmanager
def _faults(url: str) -> Iterator[None]:
    try:
        yield
    except GrafanaException as error:
        if error.status_code in _REFUSED:
            raise GrafanaRefusedError(f"Grafana at {url} refuses the token or user: give one of an admin.") from None
        if error.status_code in (0, _NOT_FOUND):
            raise GrafanaAwayError(f"Nothing at {url} answers as Grafana: check --url.") from None
        raise GrafanaError(f"Grafana at {url} answered {error.status_code}: look into its log.") from None
    except (requests.exceptions.RequestException, ValueError):
        raise GrafanaAwayError(f"Nothing at {url} answers as Grafana: check --url.") from None
