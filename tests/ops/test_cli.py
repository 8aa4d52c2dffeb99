"""The command line as a user meets it: real processes, exit codes, sentences instead of tracebacks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

HEAVY = ("numpy", "fastavro", "structlog", "pydantic", "starlette", "apsw", "psutil", "yaml", "rich.console")


def heliograph(
    *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HELIOGRAPH_")}
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**clean, **(environment or {})},
        check=False,
    )


def test_help_lists_the_commands_and_hides_the_inner_one() -> None:
    done = heliograph("--help")
    assert done.returncode == 0
    for command in ("up", "login", "schemas", "spool", "config", "version"):
        assert f"\n  {command} " in done.stdout
    assert "\n  role " not in done.stdout


def test_help_imports_nothing_heavy() -> None:
    script = f"import sys, ops.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version() -> None:
    assert heliograph("version").stdout.strip() == "0.1.0"


def test_schemas_are_passed_on() -> None:
    done = heliograph("schemas", "show", "--json")
    assert (done.returncode, "metric_batch" in done.stdout) == (0, True)


def test_a_good_config_validates(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text("http: {port: 0}\n")
    done = heliograph("config", "validate", "h.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "h.yaml: ok\n")


def test_a_bad_config_is_78_with_line_and_advice(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text("http:\n  prot: 1\n")
    for command in (["config", "validate", "h.yaml"], ["up", "--config", "h.yaml"]):
        done = heliograph(*command, cwd=tmp_path)
        assert done.returncode == 78
        assert done.stderr == "heliograph: h.yaml:2: http.prot: unknown key; did you mean port?\n"


def test_show_masks_secrets_and_can_show_all(tmp_path: Path) -> None:
    environment = {"HELIOGRAPH_HTTP__TOKEN": "s3cr3t"}
    done = heliograph("config", "show", environment=environment)
    assert done.stdout == "http:\n  token: <secret>\n"
    done = heliograph("config", "show", "--effective", environment=environment)
    assert "port: 4354" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr


def test_wrong_usage_is_2() -> None:
    assert heliograph("up", "--prot", "1").returncode == 2
    assert heliograph("up", "--port", "99999").returncode == 2


def test_a_port_in_use_is_69_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = heliograph("up", "--port", port, "--otlp-port", "0", "--data-dir", str(tmp_path / "d"))
    assert done.returncode == 69
    assert done.stderr.startswith(f"heliograph: port {port} on 127.0.0.1 is in use")
    assert "Traceback" not in done.stderr


def test_a_data_directory_that_is_a_file_is_69_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("")
    done = heliograph("up", "--data-dir", str(tmp_path / "d"))
    assert done.returncode == 69
    assert "cannot be used as data directory" in done.stderr
    assert done.stderr.count("\n") == 1


def test_login_without_a_running_up_is_69(tmp_path: Path) -> None:
    done = heliograph("login", "--data-dir", str(tmp_path))
    assert (done.returncode, "nothing runs on" in done.stderr) == (69, True)


def test_an_unknown_role_is_named_with_a_near_one() -> None:
    done = heliograph("role", "router-serch")
    assert (done.returncode, done.stderr) == (
        1,
        "heliograph: there is no role router-serch: did you mean router-search?\n",
    )


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_comes_only_when_asked_for(tmp_path: Path, debug: bool) -> None:
    done = heliograph("config", "validate", str(tmp_path), environment={"HELIOGRAPH_DEBUG": "1"} if debug else {})
    assert done.returncode in (1, 78)
    assert ("Traceback" in done.stderr) is debug
