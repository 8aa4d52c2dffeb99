"""The schema registry: which writer's schema an id stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from heliograph.contracts import Schema


class RegistryError(Exception):
    """Anything a registry raises."""


class RegistryConfigError(RegistryError):
    """The registry cannot be used as it is set up: its settings or ours must change before a retry makes sense."""


class RegistryUnavailableError(RegistryError):
    """The registry cannot be asked now; what is cached stays valid."""


class UnknownSchemaError(RegistryError):
    """The registry says that it has no schema of this id."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"no schema has the id {schema_id}")
        self.schema_id = schema_id


class IncompatibleSchemaError(RegistryError):
    """The new version cannot be read by, or cannot read, an earlier version of the subject."""


class Registry(Protocol):
    """Subjects hold versions; each version's schema has an id for ever. Safe from several threads."""

    def register(self, subject: str, schema: Schema) -> int:
        """The id of this schema under the subject, registered if it is new. Compatibility is FULL_TRANSITIVE.

        Raises IncompatibleSchemaError, RegistryUnavailableError.
        """
        ...

    def schema(self, schema_id: int) -> Schema:
        """The writer's schema of an id; its `name` is the record's name. Raises UnknownSchemaError, RegistryUnavailableError."""
        ...

    def versions(self, subject: str) -> Mapping[int, int]:
        """Schema id by version number, from 1; empty when the subject is unknown."""
        ...
