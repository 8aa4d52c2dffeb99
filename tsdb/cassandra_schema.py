"""The tables of the block store on Cassandra, and the CQL that makes them. Needs no driver; docs/formats/cassandra.md explains them.

Nothing is ever deleted: every row of a table lives equally long. A blob is the one cell of its row, so that no row is ever torn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .cassandra_settings import LATE_S, CassandraSettings

SLOTS: Final = 64
"""Into how many partitions the directory, the sets' metrics and the manifests of a (tenant, day) are spread."""
_HINTS_S: Final = 10_800
"""gc_grace_seconds bounds how long a node that was down is still given what it missed."""
_WINDOWS_PER_LIFE: Final = 30
_ASK_ANOTHER: Final = "MIN(99p,500ms)"
"""When a node asks another replica for a read. By the percentile alone it no longer does once a dead node's timeouts are the percentile."""

Columns = tuple[tuple[str, str], ...]


class Life(Enum):
    """How long the rows of a table live."""

    ROWS = "rows"
    """As long as the retention."""
    KEYS = "keys"
    """Longer, because rows written later refer to them."""
    FOREVER = "forever"


@dataclass(frozen=True, slots=True)
class Table:
    """Names and CQL types of its columns."""

    name: str
    partition: Columns
    clustering: Columns
    cells: Columns
    life: Life
    blobs: bool = True
    """Write-once blobs, compressed already; otherwise small rows changed by compare-and-set."""

    def columns(self) -> Iterator[tuple[str, str, int, str]]:
        """(name, kind, position, type) as system_schema.columns has them."""
        for kind, columns in (("partition_key", self.partition), ("clustering", self.clustering)):
            for position, (name, cql_type) in enumerate(columns):
                yield name, kind, position, cql_type
        for name, cql_type in self.cells:
            yield name, "regular", -1, cql_type

    def ttl_s(self, settings: CassandraSettings) -> int:
        """Seconds; 0 is for ever."""
        if self.life is Life.FOREVER:
            return 0
        return int(settings.retention_s) + (LATE_S if self.life is Life.KEYS else 0)


_SPACE: Final = ("space", "text")
_TENANT_DAY: Final = (_SPACE, ("tenant", "text"), ("day", "int"))
_SLOT: Final = (*_TENANT_DAY, ("slot", "int"))
_DATA: Final = (("data", "blob"),)
_SOURCE: Final = (("log_id", "text"), ("ranges", "blob"), ("writer", "text"))
_CATALOG: Final = tuple(
    (name, "int" if name == "shards" else "text") for name in ("bucket", "shards", "kind", "unit", "help", "family")
)

TABLES: Final = (
    Table("l0", (_SPACE, ("tenant", "text"), ("window", "int"), ("slot", "int")), (("bucket", "text"), *_SOURCE), _DATA, Life.ROWS),
    Table("spreads", _TENANT_DAY, (("slots", "int"),), (), Life.KEYS, blobs=False),
    Table("flushes", (_SPACE, ("day", "int"), ("slot", "int")), _SOURCE, _DATA, Life.KEYS),
    Table("merged", (*_TENANT_DAY, ("version", "text")), (), _DATA, Life.ROWS),
    Table("sets", (_SPACE, ("day", "int"), ("hash", "blob")), (("part", "int"),), _DATA, Life.KEYS),
    Table("metric_sets", _SLOT, (("hash", "blob"),), _DATA, Life.KEYS),
    Table("directory", _SLOT, (("hash", "blob"),), _DATA, Life.KEYS),
    Table("catalog", _TENANT_DAY, (("metric", "text"),), _CATALOG, Life.KEYS, blobs=False),
    Table(
        "manifests", _SLOT, (("metric", "text"), ("shard", "int")), (("generation", "int"), *_DATA), Life.KEYS, blobs=False
    ),
    Table("days", (_SPACE,), (("day", "int"),), (), Life.KEYS, blobs=False),
    Table("retired", (_SPACE,), (("day", "int"),), (), Life.FOREVER, blobs=False),
)  # fmt: skip


def create_keyspace(settings: CassandraSettings) -> str:
    """CQL."""
    datacenter = settings.datacenter.replace("'", "''")
    replication = f"{{'class': 'NetworkTopologyStrategy', '{datacenter}': {settings.replication_factor}}}"
    return f"CREATE KEYSPACE IF NOT EXISTS {settings.keyspace} WITH replication = {replication}"


def create_table(table: Table, settings: CassandraSettings) -> str:
    """CQL."""
    columns = ", ".join(f"{name} {cql_type}" for name, _, _, cql_type in table.columns())
    partition = ", ".join(name for name, _ in table.partition)
    key = ", ".join([f"({partition})", *(name for name, _ in table.clustering)])
    ttl_s = table.ttl_s(settings)
    options = {
        "default_time_to_live": str(ttl_s),
        "gc_grace_seconds": str(_HINTS_S),
        "speculative_retry": f"'{_ASK_ANOTHER}'",
    }
    if table.blobs:
        options["compaction"] = _time_windows(ttl_s)
        options["compression"] = "{'enabled': 'false'}"
        options["read_repair"] = "'NONE'"
    told = " AND ".join(f"{name} = {value}" for name, value in options.items())
    return f"CREATE TABLE IF NOT EXISTS {settings.keyspace}.{table.name} ({columns}, PRIMARY KEY ({key})) WITH {told}"


def _time_windows(ttl_s: int) -> str:
    hours = max(1, round(ttl_s / 3600 / _WINDOWS_PER_LIFE))
    unit, size = ("HOURS", hours) if hours < 24 else ("DAYS", round(hours / 24))
    return (
        "{'class': 'TimeWindowCompactionStrategy', "
        f"'compaction_window_unit': '{unit}', 'compaction_window_size': '{size}'}}"
    )
