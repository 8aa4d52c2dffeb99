"""What every test may rely on."""

from __future__ import annotations

import pytest

from heliograph import contracts


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry's ids that one test has learned are not another's."""
    monkeypatch.setattr(contracts, "_learned", {})
