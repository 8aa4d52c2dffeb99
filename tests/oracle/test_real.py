"""A short run of the oracle, and a rolling restart, on Kafka, a registry, Elasticsearch, S3 and Cassandra."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .real_engines import RealServers
from .rolling import roll
from .run import run


@pytest.fixture(scope="module")
def servers() -> Iterator[RealServers]:
    started = RealServers.start()
    yield started
    started.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_servers_and_roles_killed_nothing_is_lost_and_nothing_doubled(servers: RealServers, tmp_path: Path) -> None:
    outcome = run(11, tmp_path / "run", duration_s=15.0, faults=4, tell=print, engines=servers.fresh("run"))
    assert outcome.good, "\n".join(map(str, outcome.verdicts))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_rolling_restart_loses_and_doubles_nothing(servers: RealServers, tmp_path: Path) -> None:
    verdicts = roll(12, tmp_path / "roles", servers.fresh("rolling"), shared=False, standby=frozenset(), tell=print)
    assert all(v.good for v in verdicts), "\n".join(map(str, verdicts))
