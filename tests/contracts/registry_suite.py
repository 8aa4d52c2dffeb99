"""What every schema registry must do. An adapter's tests subclass the suite and give the `adapter` fixture."""

from __future__ import annotations

import json
import threading
from typing import Any, Protocol

import pytest

from bus.registry import IncompatibleSchemaError, Registry, UnknownSchemaError
from heliograph import contracts
from heliograph.contracts import Schema, schema_from_text


class RegistryAdapter(Protocol):
    """One empty registry, or subjects that nobody else uses."""

    def open(self) -> Registry:
        """A further handle on the registry; the adapter closes it."""
        ...


def record(*fields: dict[str, Any], name: str = "Thing") -> Schema:
    return schema_from_text("thing", json.dumps({"type": "record", "name": name, "fields": list(fields)}))


A = {"name": "a", "type": "long"}
B = {"name": "b", "type": "string", "default": ""}
C = {"name": "c", "type": "string", "default": "c"}


class RegistrySuite:
    @pytest.fixture
    def adapter(self) -> RegistryAdapter:
        raise NotImplementedError

    @pytest.fixture
    def registry(self, adapter: RegistryAdapter) -> Registry:
        return adapter.open()

    def test_a_schema_is_found_by_its_id(self, registry: Registry) -> None:
        schema_id = registry.register("thing", record(A))
        found = registry.schema(schema_id)
        assert (found.name, found.text, found.fingerprint) == ("Thing", record(A).text, record(A).fingerprint)
        assert found.parsed == record(A).parsed

    def test_registering_again_gives_the_same_id_and_no_version(self, registry: Registry) -> None:
        first = registry.register("thing", record(A))
        assert registry.register("thing", record(A)) == first
        assert dict(registry.versions("thing")) == {1: first}

    def test_versions_are_counted_per_subject_from_one(self, registry: Registry) -> None:
        first, second = (registry.register("thing", schema) for schema in (record(A), record(A, B)))
        other = registry.register("other", record(A, B))
        assert dict(registry.versions("thing")) == {1: first, 2: second}
        assert dict(registry.versions("other")) == {1: other}
        assert other == second != first

    def test_an_unknown_subject_has_no_versions(self, registry: Registry) -> None:
        assert dict(registry.versions("nothing")) == {}

    def test_an_unknown_id_is_said_to_be_unknown(self, registry: Registry) -> None:
        with pytest.raises(UnknownSchemaError) as caught:
            registry.schema(123456)
        assert caught.value.schema_id == 123456

    @pytest.mark.parametrize(
        "new",
        [
            record(A, {"name": "b", "type": "string"}),
            record({"name": "a", "type": "string"}),
            record(B),
            record(A, name="Other"),
        ],
        ids=["a field without default", "another type", "a field less", "another name"],
    )
    def test_an_incompatible_version_is_refused_and_changes_nothing(self, registry: Registry, new: Schema) -> None:
        first = registry.register("thing", record(A))
        with pytest.raises(IncompatibleSchemaError):
            registry.register("thing", new)
        assert dict(registry.versions("thing")) == {1: first}

    def test_a_version_must_suit_all_earlier_ones_not_only_the_last(self, registry: Registry) -> None:
        registry.register("thing", record(A, {"name": "b", "type": "int", "default": 0}))
        registry.register("thing", record(A))
        with pytest.raises(IncompatibleSchemaError):
            registry.register("thing", record(A, B))
        registry.register("thing", record(A, C))

    def test_every_handle_sees_what_another_registered(self, adapter: RegistryAdapter, registry: Registry) -> None:
        schema_id = registry.register("thing", record(A))
        assert adapter.open().schema(schema_id).text == record(A).text
        late = adapter.open()
        later_id = registry.register("thing", record(A, B))
        assert late.schema(later_id).text == record(A, B).text

    def test_threads_that_register_at_once_agree(self, adapter: RegistryAdapter) -> None:
        handles = [adapter.open() for _ in range(4)]
        ids: list[int] = []
        threads = [threading.Thread(target=lambda h=h: ids.append(h.register("thing", record(A, B)))) for h in handles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids) == 4
        assert len(set(ids)) == 1
        assert len(handles[0].versions("thing")) == 1

    def test_every_contract_can_be_registered(self, registry: Registry) -> None:
        for topic in contracts.topics().values():
            schema = contracts.schema(topic.schema)
            schema_id = registry.register(f"{topic.name}-value", schema)
            assert registry.schema(schema_id).fingerprint == schema.fingerprint
