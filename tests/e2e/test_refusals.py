"""What keeps `up` from starting: one sentence that says what to do, an exit code, and no traceback."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import inputs
from tests.e2e.running import bus_of, run_up, running, total, tracebacks, vector
from tests.oracle.platform_under_test import Platform, wait_for

SETTLE_S = 40.0


def one_sentence(stderr: str) -> str:
    """The only line that complains."""
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("heliograph: ")]
    assert stderr.splitlines()[-1] == line
    return line


@pytest.mark.parametrize("flag", ["--port", "--otlp-port"])
def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path, flag: str) -> None:
    other = {"--port": "--otlp-port", "--otlp-port": "--port"}[flag]
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_up(tmp_path, flag, str(port), other, "0")
    assert done.returncode == 69
    assert one_sentence(done.stderr) == (
        f"heliograph: port {port} on 127.0.0.1 is in use: "
        f"stop what listens there, or choose another with {flag} (0: a free one)"
    )
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http:\n  port: 4354\nserch: {}\n", "h.yaml:3: serch: unknown key; did you mean search?"),
        ("http:\n  prt: 4354\n", "h.yaml:2: http.prt: unknown key; did you mean port?"),
        ("http:\n  host: 127.0.0.1\n  port: many\n", "h.yaml:3: http.port: a whole number is expected"),
        ("agent: [1]\n", "h.yaml:1: agent: a section with keys is expected"),
        ("agent:\n  host_interval: 15\n", "h.yaml:2: agent.host_interval: a duration with its unit such as "),
        ("http: {port: 1\n", "h.yaml:"),
    ],
    ids=["unknown section", "unknown key", "wrong type", "no section", "no unit", "no YAML"],
)
def test_a_wrong_setting_is_said_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "h.yaml").write_text(text)
    done = run_up(tmp_path / "data", "--config", str(tmp_path / "h.yaml"))
    assert done.returncode == 78
    assert one_sentence(done.stderr).startswith(f"heliograph: {sentence}")
    assert not (tmp_path / "data").exists()


def test_a_damaged_registry_ends_up_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus" / "registry.db").write_bytes(b"no database " * 1000)
    is_refused_as_damaged(tmp_path, "registry.db")


def is_refused_as_damaged(root: Path, name: str) -> None:
    done = run_up(root, "--port", "0", "--otlp-port", "0")
    assert done.returncode == 69
    assert f"{root / 'bus' / name} is damaged or not ours" in one_sentence(done.stderr)
    assert "start again" in done.stderr
    assert tracebacks(root) == []


def test_a_second_up_on_the_same_data_is_refused(platform: Platform) -> None:
    assert platform.process is not None
    done = run_up(platform.data_dir, "--port", "0", "--otlp-port", "0")
    assert done.returncode == 69
    assert one_sentence(done.stderr) == (
        f"heliograph: {platform.data_dir} is in use by process {platform.process.pid}: "
        "stop it with Ctrl-C, or choose another directory with --data-dir"
    )


def spoil(path: Path) -> None:
    """Every byte of the file another one."""
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()[:65536]) + path.read_bytes()[65536:])


def test_a_damaged_store_is_said_and_set_aside_and_a_damaged_bus_is_refused(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "data")
    with bus_of(platform.data_dir) as bus:
        bus.produce([inputs.logs("before", ["before"]), inputs.samples("before", {"a": 1.0})])
    with running(platform):
        wait_for("the samples", lambda: len(vector(platform, 'e2e_value{job="before"}')) == 1, SETTLE_S)
        wait_for("the record", lambda: total(platform, service="before") == 1, SETTLE_S)
    (day_file,) = (platform.data_dir / "tsdb").glob("day-*.db")
    for path in (platform.data_dir / "tsdb").glob("day-*.db*"):
        spoil(path)
    segments = [path for path in (platform.data_dir / "search").rglob("*") if path.is_file()]
    assert segments
    for path in segments:
        if path.name not in ("meta.json", ".filled-from"):
            spoil(path)
    with bus_of(platform.data_dir) as bus:
        bus.produce([inputs.logs("after", ["after"]), inputs.samples("after", {"a": 2.0})])
    with running(platform):
        wait_for("later samples", lambda: len(vector(platform, 'e2e_value{job="after"}')) == 1, SETTLE_S)
        wait_for("a later record", lambda: total(platform, service="after") == 1, SETTLE_S)
    said = (platform.data_dir / "logs" / "router-tsdb.log").read_text()
    assert f"{day_file} is not a usable database" in said
    assert "set aside as" in said
    assert "moved_to" in (platform.data_dir / "logs" / "router-search.log").read_text()
    for path in (platform.data_dir / "bus").glob("bus.db*"):
        spoil(path)
    is_refused_as_damaged(platform.data_dir, "bus.db")
