"""The agent's settings in its own words, and what it says of itself in Prometheus' words."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectors.agent import AgentConfig, SpoolConfig
from collectors.file_follow import FollowConfig
from ops.data_dir import read_json, token
from ops.role_context import RoleContext
from ops.settings import Settings
from ops.spools import spool_folder

Status = Mapping[str, Mapping[str, int | float | str]]
_FAILING: Final = "the bus does not take what is collected"
_NOT_LISTENING: Final = "does not listen yet"


def agent_config(settings: Settings, context: RoleContext) -> AgentConfig:
    """From the settings. The receiver's token counts only where it does not listen on loopback."""
    given = settings.otlp.token
    return AgentConfig(
        state_dir=context.data_dir / context.instance.name,
        hostname=socket.gethostname(),
        host_interval_s=settings.agent.host_interval,
        follow=tuple(FollowConfig(follow.path, follow.service or "") for follow in settings.agent.follow),
        otlp_host=settings.otlp.host,
        otlp_port=settings.otlp.port,
        otlp_token=given.get_secret_value() if given else token(context.data_dir),
        spool=_spool(settings, spool_folder(context.data_dir, context.instance.name)),
    )


def _spool(settings: Settings, folder: Path) -> SpoolConfig | None:
    bytes_max = settings.agent.spool.bytes_max
    return SpoolConfig(folder, bytes_max) if bytes_max else None


def role_pids(data_dir: Path) -> dict[str, int]:
    """The process of each role, as the supervisor says; empty without one."""
    roles = read_json(data_dir / "endpoints.json").get("roles")
    pids = {name: role.get("pid") for name, role in roles.items()} if isinstance(roles, dict) else {}
    return {name: pid for name, pid in pids.items() if isinstance(pid, int)}


def unready(status: Status, is_listening: bool) -> dict[str, str]:
    """Why the agent cannot do its work, by part."""
    reasons = {source: str(values["last_error"]) for source, values in status.items() if values.get("last_error")}
    if not is_listening:
        reasons.setdefault("receiver", _NOT_LISTENING)
    if status.get("outbox", {}).get("is_failing"):
        reasons["outbox"] = _FAILING
    return reasons


def notes(status: Status) -> dict[str, str]:
    """What is worth knowing although the agent does its work, by part."""
    return {source: str(values["note"]) for source, values in status.items() if values.get("note")}


class StatusCollector(Collector):
    """Every number of the agent's status as `heliograph_agent_<name>{source=…}`; a counter when its name ends in `_total`."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for source, values in self._status().items():
            for name, value in values.items():
                if isinstance(value, str):
                    continue
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                help_text = f"{name.replace('_', ' ')}, by source"
                family = families.setdefault(name, kind(f"heliograph_agent_{name}", help_text, labels=["source"]))
                family.add_metric([source], value)
        return families.values()
