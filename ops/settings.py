"""Every setting, with its default. Precedence: flags, then HELIOGRAPH_SECTION__KEY, then the file, then the defaults below."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SecretStr, StrictBool, StrictStr

from ops.engine_settings import (
    CassandraSettings,
    ConfluentSettings,
    ElasticsearchSettings,
    KafkaSettings,
    S3Settings,
)
from ops.setting_types import Duration, Port, Section, Size, SizeOrZero


def _globs(value: Any) -> Any:
    """A bare glob is short for {path: glob}."""
    if isinstance(value, list):
        return [{"path": item} if isinstance(item, str) else item for item in value]
    return value


class HttpSettings(Section):
    """The query service: APIs and page."""

    host: StrictStr = "127.0.0.1"
    port: Port = 4354
    token: SecretStr | None = None
    """Instead of the one in the data directory's `token` file."""


class OtlpSettings(Section):
    """The agent's receiver: OTLP over HTTP, and the client's batches."""

    host: StrictStr = "127.0.0.1"
    port: Port = 4318
    token: SecretStr | None = None
    """Needed when the host is not loopback; without one the token of the data directory counts."""


class FollowSettings(Section):
    """Log files to follow."""

    path: StrictStr
    """A glob."""
    service: StrictStr | None = None
    """service.name of its records; without one, the file's stem."""


class SpoolSettings(Section):
    """Where the agent keeps batches while the bus is away."""

    bytes_max: SizeOrZero = 1024**3
    """On disk; over it the oldest batches are dropped. 0: no spool, and what is sent meanwhile is refused."""


class AgentSettings(Section):
    """What the agent gathers on this machine."""

    host_interval: Duration = 15.0
    spool: SpoolSettings = SpoolSettings()
    follow: Annotated[tuple[FollowSettings, ...], BeforeValidator(_globs)] = ()


class BusSettings(Section):
    """The log that everything passes through."""

    engine: Literal["sqlite", "kafka"] = "sqlite"
    file_bytes_max: Size = 8 * 1024**3
    """Of the embedded log."""
    session_timeout: Duration = 15.0
    kafka: KafkaSettings = KafkaSettings()


class RegistrySettings(Section):
    """Where schemas have their ids."""

    engine: Literal["embedded", "confluent"] = "embedded"
    confluent: ConfluentSettings = ConfluentSettings()


class SearchSettings(Section):
    """The store of logs and spans."""

    engine: Literal["tantivy", "elasticsearch"] = "tantivy"
    retention: Duration = 14 * 86_400.0
    """Of the embedded store; Elasticsearch's own lifecycle rules its data streams."""
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()


class ArchiveSettings(Section):
    """The store of everything, as Avro files."""

    engine: Literal["local", "s3"] = "local"
    s3: S3Settings = S3Settings()


class TsdbSettings(Section):
    """The store of metrics."""

    engine: Literal["sqlite", "cassandra"] = "sqlite"
    retention: Duration = 30 * 86_400.0
    cassandra: CassandraSettings = CassandraSettings()


class RulesSettings(Section):
    """Alerting rules and whom they tell."""

    files: tuple[Path, ...] = ()
    webhooks: tuple[SecretStr, ...] = ()
    """URLs; secret, for many carry their key in the path."""
    evaluation_interval: Duration = 60.0
    query_url: StrictStr = ""
    """Of the query service; empty: the one at `http`."""


class HealthSettings(Section):
    """Where a role that runs by itself serves /healthz, /readyz and /metrics; below `up` each takes a free port of loopback."""

    host: StrictStr = "127.0.0.1"
    port: Port = 0


class LogSettings(Section):
    """Heliograph's own logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(Section):
    """Everything that can be set."""

    data_dir: Path = Path("heliograph-data")
    http: HttpSettings = HttpSettings()
    otlp: OtlpSettings = OtlpSettings()
    agent: AgentSettings = AgentSettings()
    bus: BusSettings = BusSettings()
    registry: RegistrySettings = RegistrySettings()
    search: SearchSettings = SearchSettings()
    archive: ArchiveSettings = ArchiveSettings()
    tsdb: TsdbSettings = TsdbSettings()
    rules: RulesSettings = RulesSettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    demo: StrictBool = False


NEEDED = (
    ("bus", "kafka", "bootstrap"),
    ("registry", "confluent", "url"),
    ("search", "elasticsearch", "urls"),
    ("archive", "s3", "bucket"),
    ("tsdb", "cassandra", "hosts"),
    ("tsdb", "cassandra", "datacenter"),
)
"""What an engine cannot do without: (part, engine, key)."""


def missing(settings: Settings) -> list[tuple[str, str, str]]:
    """Of NEEDED, what the chosen engines lack."""
    lacking = []
    for part, engine, key in NEEDED:
        section = getattr(settings, part)
        if section.engine == engine and not getattr(getattr(section, engine), key):
            lacking.append((part, engine, key))
    return lacking


def masked(settings: Settings, *, only_set: bool = False) -> dict[str, Any]:
    """Plain values for showing, each secret as `<secret>`; `only_set` leaves out what is as by default."""
    shown = _plain(settings.model_dump(exclude_unset=only_set), reveal=False)
    assert isinstance(shown, dict)
    return shown


def revealed(settings: Settings) -> dict[str, Any]:
    """Plain values with secrets in them, for a role's standard input only; Settings.model_validate reads them back."""
    plain = _plain(settings.model_dump(), reveal=True)
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any, *, reveal: bool) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value() if reveal else "<secret>"
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item, reveal=reveal) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, reveal=reveal) for item in value]
    return value
