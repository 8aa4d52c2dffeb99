from __future__ import annotations

import pytest

from collectors.file_records import severity


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-01-01T00:00:00Z ERROR no disk", (17, "ERROR")),
        ("WARNING: low", (13, "WARNING")),
        ("ts=1 level=info msg=up", (9, "info")),
        ('{"level": "error", "msg": "x"}', (17, "error")),
        ('{"severity":"CRITICAL"}', (18, "CRITICAL")),
        ("[warn] careful", (13, "warn")),
        ("an error in prose is not a level", (0, "")),
        ("INFORMATION is not INFOX", (0, "")),
        ("", (0, "")),
        ("x" * 10_000 + " ERROR", (0, "")),
    ],
)
def test_severity_is_guessed_from_the_line(line: str, expected: tuple[int, str]) -> None:
    assert severity(line) == expected
