"""A rolling restart of roles that run by themselves, on embedded engines that they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engines import EmbeddedEngines
from .rolling import roll


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_roles_beside_each_other_lose_and_double_nothing_when_they_are_restarted(tmp_path: Path) -> None:
    engines = EmbeddedEngines(tmp_path / "roles" / "data")
    verdicts = roll(3, tmp_path / "roles", engines, shared=True, standby=frozenset({"search"}), tell=print)
    assert all(v.good for v in verdicts), "\n".join(map(str, verdicts))
