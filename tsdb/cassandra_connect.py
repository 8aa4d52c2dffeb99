"""Connecting to a cluster: who it is, whether it serves, and its keyspace with our tables, made where they are missing."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from cassandra import ConsistencyLevel, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    HostStateListener,
    TokenAwarePolicy,
)
from cassandra.query import tuple_factory

from .cassandra_errors import FAULTS, at_start
from .cassandra_schema import TABLES, create_keyspace, create_table
from .cassandra_settings import CassandraSettings
from .errors import StoreUnavailableError, TsdbConfigError

_LOG = logging.getLogger(__name__)

QUORUM: Final = EXEC_PROFILE_DEFAULT
ONE: Final = "one"
SERIAL: Final = "serial"
"""How many replicas of the local data center a request waits for; SERIAL is for reading what compare-and-set changes."""
_PROTOCOL_VERSION: Final = 4
_OLDEST_SERVER: Final = (4, 0)
_RECONNECT_S: Final = (0.5, 10.0)
_MUTATION_BYTES_USUAL: Final = 16 * 1024 * 1024
_REPLICAS_SAFE: Final = 3


class _Voice(HostStateListener):  # type: ignore[misc]
    """One line when a node goes or comes: the driver's own lines come with tracebacks."""

    def __init__(self) -> None:
        self._down: set[str] = set()

    def on_up(self, host: Any) -> None:
        if str(host.endpoint) in self._down:
            self._down.discard(str(host.endpoint))
            _LOG.info("Cassandra's node %s answers again", host.endpoint)

    def on_down(self, host: Any) -> None:
        self._down.add(str(host.endpoint))
        _LOG.warning("Cassandra's node %s is down", host.endpoint)

    def on_add(self, host: Any) -> None:
        """Nothing to say."""

    def on_remove(self, host: Any) -> None:
        """Nothing to say."""


def connect(settings: CassandraSettings) -> tuple[Cluster, Any, int]:
    """A cluster, a session in our keyspace whose tables are all there, and how many bytes the server takes at once.

    Raises TsdbConfigError for what the operator must change, else StoreUnavailableError.
    """
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    cluster = _cluster(settings)
    try:
        session = _session(cluster, settings)
        _check_versions(cluster, settings)
        replicas = _make_keyspace(cluster, session, settings)
        _make_tables(cluster, session, settings)
        session.set_keyspace(settings.keyspace)
        told = _server_settings(session)
        _warn_of_late_sync(told, replicas)
        return cluster, session, _mutation_bytes_max(told)
    except FAULTS as error:
        cluster.shutdown()
        raise at_start(error, settings) from error
    except BaseException:
        cluster.shutdown()
        raise


def _cluster(settings: CassandraSettings) -> Cluster:
    try:
        context = settings.tls.context() if settings.tls is not None else None
    except OSError as error:
        raise TsdbConfigError(
            f"a file of Cassandra's tls settings cannot be used: {error.strerror or error}"
        ) from error
    user = None
    if settings.username is not None:
        user = PlainTextAuthProvider(settings.username, settings.password)
    cluster = Cluster(
        list(settings.hosts),
        port=settings.port,
        protocol_version=_PROTOCOL_VERSION,
        auth_provider=user,
        ssl_context=context,
        compression=False,
        connect_timeout=settings.connect_timeout_s,
        control_connection_timeout=settings.connect_timeout_s,
        reconnection_policy=ExponentialReconnectionPolicy(*_RECONNECT_S),
        execution_profiles=_profiles(settings),
    )
    cluster.register_listener(_Voice())
    return cluster


def _profiles(settings: CassandraSettings) -> dict[object, ExecutionProfile]:
    levels = {
        QUORUM: ConsistencyLevel.LOCAL_QUORUM,
        ONE: ConsistencyLevel.LOCAL_ONE,
        SERIAL: ConsistencyLevel.LOCAL_SERIAL,
    }
    route = TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.datacenter))
    # A read that failed at one replica is asked again, and should not go the same way.
    any_replica = TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.datacenter), shuffle_replicas=True)
    return {
        name: ExecutionProfile(
            load_balancing_policy=any_replica if name == ONE else route,
            consistency_level=level,
            serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
            request_timeout=settings.request_timeout_s,
            row_factory=tuple_factory,
        )
        for name, level in levels.items()
    }


def _session(cluster: Cluster, settings: CassandraSettings) -> Any:
    """A wrong data center leaves no node to use, but its names are known by then."""
    try:
        session = cluster.connect()
    except FAULTS:
        _check_datacenter(cluster, settings)
        raise
    _check_datacenter(cluster, settings)
    return session


def _check_datacenter(cluster: Cluster, settings: CassandraSettings) -> None:
    there = sorted({str(host.datacenter) for host in cluster.metadata.all_hosts() if host.datacenter})
    if there and settings.datacenter not in there:
        named = f"there is no data center {settings.datacenter!r}" if settings.datacenter else "no data center is named"
        raise TsdbConfigError(f"Cassandra: {named}: set `datacenter` to one of {', '.join(there)}")


def _check_versions(cluster: Cluster, settings: CassandraSettings) -> None:
    for host in _local(cluster, settings):
        found = re.match(r"(\d+)\.(\d+)", str(host.release_version or ""))
        if found is not None and (int(found[1]), int(found[2])) < _OLDEST_SERVER:
            raise TsdbConfigError(
                f"Cassandra's node {host.endpoint} is of version {host.release_version}: 4.0 is the oldest that serves, upgrade it"
            )


def _local(cluster: Cluster, settings: CassandraSettings) -> list[Any]:
    return [host for host in cluster.metadata.all_hosts() if host.datacenter == settings.datacenter]


def _make_keyspace(cluster: Cluster, session: Any, settings: CassandraSettings) -> int:
    """How many replicas the keyspace has in our data center."""
    known = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
    there = session.execute(known, (settings.keyspace,)).one()
    if there is not None:
        return _replicas(there[0], settings)
    nodes = len(_local(cluster, settings))
    if settings.replication_factor > nodes:
        raise TsdbConfigError(
            f"Cassandra's data center {settings.datacenter} has {nodes} node{'s' if nodes > 1 else ''}, so keyspace {settings.keyspace} "
            f"cannot be made with a replication factor of {settings.replication_factor}: set at most {nodes}"
        )
    _define(cluster, session, settings, create_keyspace(settings), f"keyspace {settings.keyspace}")
    return settings.replication_factor


def _replicas(replication: Mapping[str, str], settings: CassandraSettings) -> int:
    """Of a keyspace that is there already."""
    simple = replication.get("class", "").endswith("SimpleStrategy")
    found = re.match(r"\d+", replication.get("replication_factor" if simple else settings.datacenter, ""))
    if found is None or int(found[0]) == 0:
        raise TsdbConfigError(
            f"Cassandra's keyspace {settings.keyspace} has no replicas in data center {settings.datacenter}: ALTER KEYSPACE gives it some"
        )
    return int(found[0])


def _make_tables(cluster: Cluster, session: Any, settings: CassandraSettings) -> None:
    there = _tables(session, settings)
    for table in TABLES:
        if table.name not in there:
            _define(
                cluster, session, settings, create_table(table, settings), f"table {settings.keyspace}.{table.name}"
            )
    there = _tables(session, settings)
    found: dict[str, set[tuple[str, str, int, str]]] = {}
    columns = "SELECT table_name, column_name, kind, position, type FROM system_schema.columns WHERE keyspace_name = %s"
    for name, *column in session.execute(columns, (settings.keyspace,)):
        found.setdefault(name, set()).add(tuple(column))
    for table in TABLES:
        if found.get(table.name) != set(table.columns()):
            raise TsdbConfigError(
                f"Cassandra's table {settings.keyspace}.{table.name} has other columns than ours: give another `keyspace`"
            )
        if there[table.name] != table.ttl_s(settings):
            _LOG.warning(
                "Cassandra's table %s.%s keeps rows for %d s, the settings say %d: ALTER TABLE … WITH default_time_to_live changes "
                "it for rows to come",
                settings.keyspace,
                table.name,
                there[table.name],
                table.ttl_s(settings),
            )  # fmt: skip


def _tables(session: Any, settings: CassandraSettings) -> dict[str, int]:
    """Each table's TTL."""
    query = "SELECT table_name, default_time_to_live FROM system_schema.tables WHERE keyspace_name = %s"
    return dict(session.execute(query, (settings.keyspace,)).all())


def _define(cluster: Cluster, session: Any, settings: CassandraSettings, cql: str, what: str) -> None:
    """Always through the same node, so that several processes that start at once do not make a table twice."""
    up = [host for host in _local(cluster, settings) if host.is_up] or _local(cluster, settings)
    first = min(up, key=lambda host: str(host.endpoint))
    try:
        session.execute(cql, host=first, timeout=max(30.0, settings.request_timeout_s))
    except Unauthorized as error:
        user = settings.username or "anonymous"
        raise TsdbConfigError(
            f"Cassandra's {what} is missing and user {user!r} may not make it: make it, or grant this user CREATE"
        ) from error
    if not session.cluster.control_connection.wait_for_schema_agreement():
        raise StoreUnavailableError(f"Cassandra's nodes do not agree on {what} yet")


def _server_settings(session: Any) -> dict[str, str]:
    """What the server tells of its own settings."""
    query = "SELECT name, value FROM system_views.settings"
    try:
        return {name: value or "" for name, value in session.execute(query)}
    except Unauthorized:
        return {}


def _mutation_bytes_max(told: Mapping[str, str]) -> int:
    """What the server takes at once, if it tells."""
    kib = told.get("max_mutation_size_in_kb", "")
    return int(kib) * 1024 if kib.isdigit() else _MUTATION_BYTES_USUAL


def _warn_of_late_sync(told: Mapping[str, str], replicas: int) -> None:
    if told.get("commitlog_sync") == "periodic" and replicas < _REPLICAS_SAFE:
        _LOG.warning(
            "Cassandra acknowledges rows before its commit log is on disk: with fewer than %d replicas, a node that dies takes "
            "acknowledged rows with it; set `commitlog_sync: batch` in its cassandra.yaml",
            _REPLICAS_SAFE,
        )
