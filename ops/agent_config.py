"""The agent's settings in its own words, and what it says of itself in Prometheus' words."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectors.agent import AgentConfig
from collectors.file_follow import FollowConfig
from ops.data_dir import read_json, token
from ops.role_context import RoleContext
from ops.settings import Settings

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
    )


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


class StatusCollector(Collector):
    """Every number of the agent's status as `heliograph_agent_<name>{source=…}`."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for source, values in self._status().items():
            for name, value in values.items():
                if isinstance(value, str):
                    continue
                family = families.setdefault(
                    name,
                    GaugeMetricFamily(
                        f"heliograph_agent_{name}", f"{name.replace('_', ' ')}, by source", labels=["source"]
                    ),
                )
                family.add_metric([source], value)
        return families.values()
