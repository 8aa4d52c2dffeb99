"""Rule files are Prometheus' own, and what is wrong in them is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.errors import RuleFileError
from alerts.rules import load

GOOD = """
groups:
  - name: hosts
    interval: 30s
    labels: {team: infra}
    rules:
      - alert: DiskFull
        expr: node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.05
        for: 1h30m
        keep_firing_for: 5m
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.mountpoint }} is full"}
      - record: job:up:sum
        expr: sum by (job) (up)
  - name: other
    rules: [{alert: Always, expr: 1}]
"""


def accept(expr: str) -> None:
    if "(((" in expr:
        raise ValueError("1:1: parse error: unclosed")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(text)
    return path


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    hosts, other = load(write(tmp_path, GOOD), 15.0, accept)
    (disk,) = hosts.rules
    assert (hosts.interval_s, disk.for_s, disk.keep_firing_for_s) == (30.0, 5400.0, 300.0)
    assert disk.labels == {"team": "infra", "severity": "critical"}
    assert hosts.not_evaluated == ("job:up:sum",)
    assert (other.interval_s, other.rules[0].expr) == (15.0, "1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("groups: [{name: a, rulez: []}]", "unknown key 'rulez'"),
        ("groups: [{rules: []}]", "a name is missing"),
        ("groups: [{name: a}, {name: a}]", "used twice"),
        ("groups: [{name: a, rules: [{alert: X}]}]", "an expr is missing"),
        ("groups: [{name: a, rules: [{alert: X, expr: '((('}]}]", "parse error"),
        ("groups: [{name: a, interval: soon}]", "'soon' is not a duration"),
        ("groups: {", "not YAML"),
        ("- 1", "a mapping is expected"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RuleFileError, match=told):
        load(write(tmp_path, text), 15.0, accept)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuleFileError, match="cannot be read"):
        load(tmp_path / "none.yml", 15.0, accept)


def test_an_empty_file_has_no_groups(tmp_path: Path) -> None:
    assert load(write(tmp_path, ""), 15.0, accept) == []
