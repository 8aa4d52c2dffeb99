"""A short run of the oracle, in every test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from .run import run


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_and_stopped_at_random_nothing_is_lost_and_nothing_doubled(seed: int, tmp_path: Path) -> None:
    outcome = run(seed, tmp_path / "run", duration_s=12.0, faults=4, tell=print)
    assert outcome.good, "\n".join(map(str, outcome.verdicts))
