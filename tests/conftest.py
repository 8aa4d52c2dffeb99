"""What every test may rely on, and which of them share a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from heliograph import contracts

_TESTS: Final = Path(__file__).parent
_LONGEST: Final = ("oracle", "bus", "e2e", "tsdb", "archive", "search")
"""Folders that take long are begun first, so that no worker is left alone with one at the end."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests run in one worker, one after the other: a server that they share is started once."""
    order = {folder: at for at, folder in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(_folder(item), len(order)))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_folder(item)))


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry's ids that one test has learned are not another's."""
    monkeypatch.setattr(contracts, "_learned", {})


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(_TESTS).parts[0]
