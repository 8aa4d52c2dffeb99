"""Every setting, with its default. Precedence: flags, then HELIOGRAPH_SECTION__KEY, then the file, then the defaults below."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StrictBool,
    StrictStr,
)

from ops.quantity import duration_s, duration_text, size_bytes, size_text


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError("a duration with its unit such as 15s, 500ms or 1h30m is expected")
    return duration_s(value)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("more than zero is expected")
    return value


def _bytes(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("a size with its unit such as 10MiB is expected")
    return size_bytes(value)


def _globs(value: Any) -> Any:
    """A bare glob is short for {path: glob}."""
    if isinstance(value, list):
        return [{"path": item} if isinstance(item, str) else item for item in value]
    return value


Duration = Annotated[
    float, BeforeValidator(_seconds), AfterValidator(_positive), PlainSerializer(duration_text, return_type=str)
]
"""Seconds; written as `15s`."""
Size = Annotated[int, BeforeValidator(_bytes), AfterValidator(_positive), PlainSerializer(size_text, return_type=str)]
"""Bytes; written as `10MiB`."""
Port = Annotated[int, Field(strict=True, ge=0, le=65_535)]


class Section(BaseModel):
    """Closed and frozen: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class AgentSettings(Section):
    """What the agent gathers on this machine."""

    host_interval: Duration = 15.0
    follow: Annotated[tuple[FollowSettings, ...], BeforeValidator(_globs)] = ()


class BusSettings(Section):
    """The log that everything passes through."""

    engine: Literal["sqlite"] = "sqlite"
    file_bytes_max: Size = 8 * 1024**3
    session_timeout: Duration = 15.0


class SearchSettings(Section):
    """The store of logs and spans."""

    engine: Literal["tantivy"] = "tantivy"
    retention: Duration = 14 * 86_400.0


class ArchiveSettings(Section):
    """The store of everything, as Avro files."""

    engine: Literal["local"] = "local"


class TsdbSettings(Section):
    """The store of metrics."""

    engine: Literal["sqlite"] = "sqlite"
    retention: Duration = 30 * 86_400.0


class RulesSettings(Section):
    """Alerting rules and whom they tell."""

    files: tuple[Path, ...] = ()
    webhooks: tuple[SecretStr, ...] = ()
    """URLs; secret, for many carry their key in the path."""
    evaluation_interval: Duration = 60.0


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
    search: SearchSettings = SearchSettings()
    archive: ArchiveSettings = ArchiveSettings()
    tsdb: TsdbSettings = TsdbSettings()
    rules: RulesSettings = RulesSettings()
    log: LogSettings = LogSettings()
    demo: StrictBool = False


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
