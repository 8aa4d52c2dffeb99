"""The templates that data streams are made from: installed when they differ, and then verified, before the first write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog

from search.elastic_client import Client
from search.elastic_errors import AccessRefusedError, reason_of
from search.elastic_mapping import WORDS, Mappings, Types, mappings, settings
from search.elastic_names import STREAMS, data_stream, in_path, pattern
from search.elastic_settings import ElasticSettings
from search.port import SearchUnavailableError, Stream

PRIORITY: Final = 200
"""Elasticsearch's own templates for OpenTelemetry have 120."""
_PROBE: Final = "heliograph-probe"
_log = structlog.stdlib.get_logger("search")


class Templates:
    """The templates of one dataset."""

    def __init__(self, client: Client, of: ElasticSettings) -> None:
        self._client = client
        self._settings = of
        self._found: Types | None = None

    def ensure(self) -> None:
        """Make the templates what they should be. Raises AccessRefusedError when they are not and may not be put, or another one
        is before them; SearchUnavailableError for the rest.
        """
        for stream in STREAMS:
            if self._differs(stream):
                self._put(stream)
                wrong = self._differs(stream)
                if wrong:
                    raise AccessRefusedError(
                        f"The template {self._name(stream)} is not what {pattern(stream, self._settings.dataset)} would be made "
                        f"from ({wrong}): remove the template of a higher priority that takes its place."
                    )
                _log.info("template_installed", template=self._name(stream))

    def ensure_stream(self, stream: Stream, name: str) -> None:
        """Roll the data stream over when its write index was made from an older template; it need not exist yet."""
        indices = backing_indices(self._client, name)
        if not indices:
            return
        index = indices[-1]
        found = self._client.ask("GET", f"/{in_path(index)}").body.get(index, {})
        if _difference(found, {"mappings": self._mappings(stream), "settings": settings(self._types())}):
            self._client.ask("POST", f"/{in_path(name)}/_rollover")
            _log.info("rolled_over", data_stream=name, reason="made from an older template")

    def _differs(self, stream: Stream) -> str:
        """What a new data stream would be made with otherwise than wanted; empty when nothing."""
        name = data_stream(stream, self._settings.dataset, "default")
        answer = self._client.ask("POST", f"/_index_template/_simulate_index/{in_path(name)}", wanted=(200, 404))
        found = answer.body.get("template") if answer.status == 200 else None
        if not found:
            return "there is none"
        wanted = {"index": {**settings(self._types())["index"], "number_of_replicas": self._settings.replicas}}
        return _difference(
            found, {"mappings": self._mappings(stream), "settings": wanted, "lifecycle": self._lifecycle()}
        )

    def _put(self, stream: Stream) -> None:
        component = f"heliograph-{stream}"
        self._install(f"/_component_template/{component}", {
            "template": {"settings": settings(self._types()), "mappings": self._mappings(stream)},
            "_meta": {"description": f"{stream} of Heliograph"},
        })  # fmt: skip
        custom = f"{component}@custom"
        self._install(f"/_index_template/{self._name(stream)}", {
            "index_patterns": [pattern(stream, self._settings.dataset)],
            "priority": PRIORITY,
            "data_stream": {},
            "composed_of": [component, custom],
            "ignore_missing_component_templates": [custom],
            "template": {
                "settings": {"index": {"number_of_replicas": self._settings.replicas}},
                "lifecycle": self._lifecycle(),
            },
            "_meta": {"description": f"{stream} of Heliograph"},
        })  # fmt: skip

    def _install(self, path: str, template: Mapping[str, Any]) -> None:
        answer = self._client.ask("PUT", path, template, wanted=(200, 400, 403))
        if answer.status != 200:
            raise AccessRefusedError(
                f"The template {path[1:]} is missing or old and Elasticsearch does not let it be put ({answer.status}): give the user or "
                f"API key the privilege manage_index_templates. It says: {reason_of(answer.body)}"
            )

    def _name(self, stream: Stream) -> str:
        dataset = self._settings.dataset
        return f"heliograph-{stream}" if dataset == "generic" else f"heliograph-{stream}-{dataset}"

    def _lifecycle(self) -> Mapping[str, Any]:
        days = self._settings.retention_days
        return {"enabled": True} if days is None else {"enabled": True, "data_retention": f"{days}d"}

    def _mappings(self, stream: Stream) -> Mappings:
        return mappings(stream, self._types())

    def _types(self) -> Types:
        if self._found is None:
            self._found = Types(
                match_only_text=self._accepts("match_only_text", _of_type("match_only_text")),
                constant_keyword=self._accepts("constant_keyword", _of_type("constant_keyword")),
                words=self._accepts("char_group", {"settings": {"index": {"analysis": WORDS}}}),
            )
        return self._found

    def _accepts(self, name: str, template: Mapping[str, Any]) -> bool:
        """Whether the server has what a throwaway template needs, which it names when it refuses."""
        probe = {"index_patterns": [f"{_PROBE}-*"], "priority": PRIORITY, "template": template}
        answer = self._client.ask("POST", "/_index_template/_simulate", probe, wanted=(200, 400))
        if answer.status == 400 and name not in reason_of(answer.body):
            raise SearchUnavailableError(f"Elasticsearch cannot say whether it has {name}: {reason_of(answer.body)}")
        return answer.status == 200


def backing_indices(client: Client, data_stream_: str) -> list[str]:
    """The indices of a data stream, the oldest first and the write index last; none when it does not exist."""
    answer = client.ask("GET", f"/_resolve/index/{in_path(data_stream_)}", wanted=(200, 404))
    if answer.status == 404:
        return []
    for found in answer.body.get("data_streams", ()):
        if found.get("name") == data_stream_:
            indices = found["backing_indices"]
            return [indices] if isinstance(indices, str) else list(indices)
    if answer.body.get("indices"):
        raise SearchUnavailableError(f"{data_stream_} is no data stream: remove the plain index of that name.")
    return []


def _of_type(name: str) -> Mapping[str, Any]:
    return {"mappings": {"properties": {"probe": {"type": name}}}}


def _difference(found: object, wanted: object, path: str = "") -> str:
    """Where `found` lacks something of `wanted`, or has it otherwise; empty when nowhere."""
    if isinstance(wanted, Mapping):
        held = found if isinstance(found, Mapping) else {}
        for key, value in wanted.items():
            if key not in held and isinstance(value, Mapping) and set(value) <= {"properties", "type"}:
                # Elasticsearch leaves out what is the default of an object.
                value = {k: v for k, v in value.items() if (k, v) != ("type", "object")}
            if wrong := _difference(held.get(key), value, f"{path}.{key}" if path else key):
                return wrong
        return ""
    return "" if str(found).lower() == str(wanted).lower() else f"{path} is {str(found)[:80]}, not {wanted}"
