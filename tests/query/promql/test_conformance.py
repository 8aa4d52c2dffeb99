"""The evaluations of Prometheus' own test scripts, when they are at hand under $PROMQLTEST_DIR."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from query.promql.promqltest import run_file

PASSED_MIN = {
    "aggregators.test": 125,
    "at_modifier.test": 78,
    "functions.test": 323,
    "histograms.test": 93,
    "literals.test": 25,
    "operators.test": 142,
    "selectors.test": 31,
    "staleness.test": 17,
}
"""What passes today; the rest reads native histograms."""


@pytest.mark.skipif("PROMQLTEST_DIR" not in os.environ, reason="PROMQLTEST_DIR is not set")
@pytest.mark.parametrize("name", sorted(PASSED_MIN))
def test_no_evaluation_fails_and_no_fewer_pass(name: str) -> None:
    report = run_file(Path(os.environ["PROMQLTEST_DIR"]) / name)
    assert report.failures == []
    assert report.passed >= PASSED_MIN[name]


def verdicts(tmp_path: Path, expectation: str) -> tuple[int, int, int]:
    script = tmp_path / "own.test"
    script.write_text(f"load 10s\n  x{{a='1'}} 1 2+1x2 _ stale\n  h {{{{sum:1 count:1}}}}\n\n{expectation}\n")
    report = run_file(script)
    return report.passed, report.failed, report.unsupported


@pytest.mark.parametrize(
    "expectation",
    [
        "eval instant at 10s x\n  x{a='1'} 2",
        "eval range from 0 to 40s step 10s x\n  x{a='1'} 1 2 3 4 4",
        "eval range from 30s to 50s step 10s x\n  x{a='1'} 4 4",
        "eval instant at 0 nothing\n  # no result",
        "eval instant at 0 1 + 1\n  2",
        "eval instant at 0 label_replace(x, 'a', '', '', '(')\n  expect fail",
        "eval instant at 0 quantile(2, x)\n  expect warn\n  expect no_info\n  {} +Inf",
    ],
)
def test_the_runner_passes_what_is_right(tmp_path: Path, expectation: str) -> None:
    assert verdicts(tmp_path, expectation) == (1, 0, 0)


@pytest.mark.parametrize(
    "expectation",
    [
        "eval instant at 10s x\n  x{a='1'} 2.1",
        "eval instant at 10s x\n  x{a='2'} 2",
        "eval instant at 10s x",
        "eval range from 0 to 40s step 10s x\n  x{a='1'} 1 2 3 4",
        "eval instant at 10s x\n  expect fail",
        "eval instant at 0 label_replace(x, 'a', '', '', '(')\n  x 1",
        "eval instant at 0 label_replace(x, 'a', '', '', '(')\n  expect fail msg: something else",
        "eval instant at 0 x\n  expect warn\n  x{a='1'} 1",
        "eval instant at 0 quantile(2, x)\n  expect no_warn\n  {} +Inf",
        "eval instant at 0 'text'\n  expect string 'other'",
    ],
)
def test_the_runner_notices_what_is_wrong(tmp_path: Path, expectation: str) -> None:
    assert verdicts(tmp_path, expectation) == (0, 1, 0)


@pytest.mark.parametrize(
    "expectation", ["eval instant at 0 h", "eval instant at 0 x\n  x {{sum:1}}", "eval instant at 0 info(x)"]
)
def test_the_runner_sets_apart_what_the_engine_does_not_have(tmp_path: Path, expectation: str) -> None:
    assert verdicts(tmp_path, expectation) == (0, 0, 1)
