"""What every test may rely on, and which of them share a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

from heliograph import contracts

_TESTS: Final = Path(__file__).parent
_LONGEST: Final = ("oracle", "bus", "e2e", "tsdb", "archive", "search")
"""Folders that take long are begun first, so that no worker is left alone with one at the end."""


class _ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A folder's tests run in one worker, one after the other: a server that they share is started once."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.removeprefix("tests/").split("/")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFolder:
    return _ByFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {folder: at for at, folder in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.relative_to(_TESTS).parts[0], len(order)))


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry's ids that one test has learned are not another's."""
    monkeypatch.setattr(contracts, "_learned", {})
