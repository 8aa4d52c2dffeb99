"""What `up` follows unasked."""

from __future__ import annotations

from pathlib import Path

from ops.default_follow import SYSTEM_LOG_BYTES_MAX, own_logs, system_logs


def test_small_readable_files_of_the_machine_are_followed(tmp_path: Path) -> None:
    (tmp_path / "small.log").write_text("x\n")
    (tmp_path / "folder.log").mkdir()
    with (tmp_path / "large.log").open("wb") as file:
        file.truncate(SYSTEM_LOG_BYTES_MAX + 1)
    assert [f.path for f in system_logs([str(tmp_path / "*.log")])] == [str(tmp_path / "small.log")]


def test_the_agents_own_log_is_never_followed(tmp_path: Path) -> None:
    followed = own_logs(tmp_path, ("agent", "query"))
    assert [(f.path, f.service) for f in followed] == [(str(tmp_path / "logs" / "query.log"), "heliograph-query")]
