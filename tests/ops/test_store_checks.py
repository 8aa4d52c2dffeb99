"""The query service is ready when its stores can be read, and says why when not."""

from __future__ import annotations

from ops.store_checks import KEEP_S, StoreChecks
from search.port import SearchUnavailableError


def test_a_store_that_cannot_be_read_is_named_until_it_can() -> None:
    now_s, broken = [0.0], [True]

    def read() -> object:
        if broken[0]:
            raise SearchUnavailableError("the index is away")
        return []

    checks = StoreChecks({"search": read, "tsdb": list}, lambda: now_s[0])
    assert checks.reasons() == {"search": "the index is away"}
    broken[0] = False
    assert checks.reasons() == {"search": "the index is away"}
    now_s[0] = KEEP_S
    assert checks.reasons() == {}
