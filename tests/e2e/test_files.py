"""Log files of every kind that a user may have, followed by the running platform."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.running import ask, total, vector
from tests.oracle.platform_under_test import Platform, wait_for

FOUND_S = 3.0
LONG_S = 20.0
KEPT_BYTES = 128 * 1024


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_metrics_of_this_machine_can_be_queried_soon(platform: Platform) -> None:
    wait_for("node_load1", lambda: bool(vector(platform, "node_load1")), LONG_S)


def test_a_line_is_found_within_three_seconds(platform: Platform, followed: Path) -> None:
    append(followed / "warm.log", b"first\n")
    wait_for("the new file is followed", lambda: total(platform, service="warm") == 1, LONG_S)
    append(followed / "warm.log", b"ERROR heliotrope wilts\n")
    wait_for("the line", lambda: total(platform, service="warm", q="heliotrope") == 1, FOUND_S)
    (record,) = ask(platform, "/api/logs", service="warm", q="heliotrope")["records"]
    assert (record["body"], record["severity_text"]) == ("ERROR heliotrope wilts", "ERROR")


def test_a_line_of_a_new_file_is_found_within_three_seconds(platform: Platform, followed: Path) -> None:
    append(followed / "fresh.log", b"WARN asphodel\n")
    wait_for("the line", lambda: total(platform, service="fresh") == 1, FOUND_S)


def test_bytes_that_are_not_utf_8_are_replaced_and_marked(platform: Platform, followed: Path) -> None:
    append(followed / "latin.log", b"caf\xe9 closed\n\x80\x81\xff\nplain after\n")
    wait_for("the lines", lambda: total(platform, service="latin") == 3, LONG_S)
    records = ask(platform, "/api/logs", service="latin")["records"]
    marked = {record["body"]: "heliograph.invalid_utf8" in record["attributes"] for record in records}
    assert marked == {"caf\ufffd closed": True, "\ufffd\ufffd\ufffd": True, "plain after": False}


def test_a_line_of_10_megabytes_is_found_cut_with_its_mark(platform: Platform, followed: Path) -> None:
    append(followed / "long.log", b"behemoth " + b"x" * 10_000_000 + b"\nafter the behemoth\n")
    wait_for("both lines", lambda: total(platform, service="long") == 2, LONG_S)
    after, long = ask(platform, "/api/logs", service="long")["records"]
    assert after["body"] == "after the behemoth"
    assert long["body"].startswith("behemoth xxx")
    assert len(long["body"]) <= KEPT_BYTES
    assert long["attributes"]["heliograph.truncated_bytes"] == 10_000_009 - len(long["body"])


def test_no_line_is_lost_or_doubled_when_a_file_is_rotated(platform: Platform, followed: Path) -> None:
    path = followed / "turning.log"
    for n in range(6):
        append(path, b"".join(b"turn %d line %d\n" % (n, i) for i in range(50)))
        held = path.open("ab")
        path.rename(path.with_name(f"turning.log.{n}"))
        with held:
            # Its writer has not noticed yet.
            held.write(b"turn %d last\n" % n)
    append(path, b"the end\n")
    expected = {f"turn {n} line {i}" for n in range(6) for i in range(50)} | {f"turn {n} last" for n in range(6)}
    start = f"{time.time() - 3600:.0f}"
    wait_for("all lines", lambda: total(platform, start=start, q='"turn"') >= len(expected), LONG_S)
    records = ask(platform, "/api/logs", start=start, q='"turn"', limit=1000)["records"]
    assert sorted(record["body"] for record in records) == sorted(expected)


def test_a_truncated_file_is_read_anew(platform: Platform, followed: Path) -> None:
    path = followed / "shorn.log"
    append(path, b"before one\nbefore two\n")
    wait_for("the first lines", lambda: total(platform, service="shorn") == 2, LONG_S)
    path.write_bytes(b"after\n")
    wait_for("the new line", lambda: total(platform, service="shorn") == 3, LONG_S)
