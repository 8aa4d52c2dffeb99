"""How to reach a Cassandra cluster, and what the store asks of it. Needs no driver."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from bus.tls import Tls

from .errors import TsdbConfigError

LATE_S: Final = 42 * 86_400
"""How long after a key was written a row that needs it may still come: samples are at most 40 days late and a day early."""
_TTL_S_MAX: Final = 20 * 365 * 86_400
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}\Z")


@dataclass(frozen=True, slots=True)
class CassandraSettings:
    """One cluster and one keyspace of it. Raises TsdbConfigError for values that can never work."""

    hosts: tuple[str, ...]
    """Some nodes' names or addresses; the others are found through them."""
    port: int = 9042
    datacenter: str = ""
    """As `nodetool status` names it: only its nodes are used."""
    keyspace: str = "heliograph"
    """Made with its tables where it is missing."""
    replication_factor: int = 3
    """Of a keyspace that is made."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    request_timeout_s: float = 15.0
    connect_timeout_s: float = 10.0
    retention_s: float = 30 * 86_400.0
    """How long rows live after they are written, by the tables' TTL, which is fixed when they are made."""
    space: str = "main"
    """Part of every key: installations of different spaces can share a keyspace."""
    in_flight_max: int = 64
    """Requests of one call that wait for an answer at once."""
    in_flight_bytes_max: int = 16 * 1024 * 1024
    row_bytes_max: int = 15 * 1024 * 1024
    """The server's own limit counts too where it is less."""
    read_bytes_max: int = 1024 * 1024 * 1024
    """Of blocks that one call gives back."""
    recheck_s: float = 60.0
    """How long it is believed that a day is not retired and that the store was not emptied."""

    def __post_init__(self) -> None:
        if not self.hosts or not all(self.hosts):
            raise TsdbConfigError("no host of Cassandra is named: give at least one")
        if not _NAME.match(self.keyspace):
            raise TsdbConfigError(f"keyspace {self.keyspace!r}: use small letters, digits and _, at most 48 of them")
        if not self.space:
            raise TsdbConfigError("the space of Cassandra's keys must not be empty")
        if self.replication_factor < 1:
            raise TsdbConfigError(f"a replication factor of {self.replication_factor}: give at least 1")
        if not 3600 <= self.retention_s <= _TTL_S_MAX - LATE_S:
            raise TsdbConfigError(f"a retention of {self.retention_s:g} s: give an hour at least and 19 years at most")
        if (self.username is None) != (self.password is None):
            raise TsdbConfigError("Cassandra's username and password go together: give both or none")
