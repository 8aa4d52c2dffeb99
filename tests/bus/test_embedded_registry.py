"""The registry's contract on the SQLite file, and its ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bus.embedded_registry import EmbeddedRegistry
from bus.registry import Registry, RegistryUnavailableError
from tests.contracts.registry_suite import A, B, RegistryAdapter, RegistrySuite, record


class _Embedded:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: list[EmbeddedRegistry] = []

    def open(self) -> Registry:
        self._opened.append(EmbeddedRegistry(self._path))
        return self._opened[-1]

    def close(self) -> None:
        for registry in self._opened:
            registry.close()


class TestEmbeddedRegistry(RegistrySuite):
    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Iterator[RegistryAdapter]:
        made = _Embedded(tmp_path / "bus" / "registry.db")
        yield made
        made.close()

    def test_an_id_needs_no_registry_to_learn(self, registry: Registry) -> None:
        assert registry.register("thing", record(A)) == record(A).offline_id

    def test_of_two_schemas_with_one_offline_id_the_second_gets_the_next(self, registry: Registry) -> None:
        first = record(A)
        clash = replace(record(A, B), fingerprint=first.fingerprint[:4] + bytes(12))
        assert registry.register("thing", first) == first.offline_id
        assert registry.register("thing", clash) == first.offline_id + 1
        assert registry.schema(first.offline_id + 1).text == clash.text

    def test_the_greatest_id_is_followed_by_one(self, registry: Registry) -> None:
        last = replace(record(A), fingerprint=b"\xff" * 16)
        clash = replace(record(A, B), fingerprint=b"\xff" * 15 + b"\0")
        assert registry.register("thing", last) == 0x7FFFFFFF
        assert registry.register("thing", clash) == 1


def test_a_damaged_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"no database" * 999)
    with pytest.raises(RegistryUnavailableError, match="is damaged or not ours"):
        EmbeddedRegistry(tmp_path / "registry.db")


def test_a_closed_registry_says_so(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry.db")
    registry.close()
    registry.close()
    with pytest.raises(RegistryUnavailableError, match="has been closed"):
        registry.versions("thing")
