"""The data directory's small files, ports, and a role's log file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from ops import data_dir as directory
from ops import role_log
from ops.errors import ConfigError, DataDirError, PortInUseError
from ops.ports import Wanted, choose, url_of


def test_the_token_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    first = directory.token(tmp_path)
    assert len(first) >= 32
    assert directory.token(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_a_damaged_token_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    with pytest.raises(DataDirError, match="token file is damaged"):
        directory.token(tmp_path)


def test_a_new_directory_is_ours_alone(tmp_path: Path) -> None:
    directory.prepare(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert (tmp_path / "new" / "archive").is_dir()


def test_a_spool_in_the_way_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("no folder")
    directory.prepare(tmp_path)


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    directory.prepare(tmp_path)
    (tmp_path / "search").rmdir()
    directory.prepare(tmp_path)
    assert (tmp_path / "search").is_dir()


def test_a_file_in_the_way_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataDirError, match="cannot be used as data directory"):
        directory.prepare(tmp_path / "data")


def test_json_is_replaced_whole_and_rubbish_reads_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    directory.write_json(path, {"a": 1})
    directory.write_json(path, {"b": 2})
    assert directory.read_json(path) == {"b": 2}
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]
    path.write_text("[1")
    assert directory.read_json(path) == {}
    assert directory.read_json(tmp_path / "absent") == {}


def test_a_port_in_use_is_said_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} on 127.0.0.1 is in use: .* --otlp-port") as caught:
            choose([Wanted("127.0.0.1", 0, "--port"), Wanted("127.0.0.1", port, "--otlp-port")])
        assert caught.value.exit_code == 69


def test_the_same_port_twice_is_refused() -> None:
    [port] = choose([Wanted("127.0.0.1", 0, "--port")])
    with pytest.raises(PortInUseError):
        choose([Wanted("127.0.0.1", port, "--port"), Wanted("127.0.0.1", port, "--otlp-port")])


def test_free_ports_are_different_and_free() -> None:
    ports = choose([Wanted("127.0.0.1", 0, "")] * 3)
    assert len(set(ports)) == 3
    assert choose([Wanted("127.0.0.1", port, "") for port in ports]) == ports


def test_a_foreign_address_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        choose([Wanted("192.0.2.1", 0, "--port")])


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("0.0.0.0", "http://127.0.0.1:1"), ("::1", "http://[::1]:1")],
)
def test_urls_reach_this_machine(host: str, url: str) -> None:
    assert url_of(host, 1) == url


def test_a_log_is_rotated_under_a_process_that_goes_on_writing(tmp_path: Path) -> None:
    path = tmp_path / "role.log"
    handle = role_log.open_for_append(path)
    os.write(handle, b"old\n" * 10)
    assert not role_log.bound(path, bytes_max=40)
    os.write(handle, b"old\n")
    assert role_log.bound(path, bytes_max=40)
    os.write(handle, b"new\n")
    os.close(handle)
    assert path.read_text() == "new\n"
    assert (tmp_path / "role.log.1").read_text() == "old\n" * 11
    assert role_log.last_lines(path, 3) == ["new"]
