"""Connecting: TLS, users, and what an operator is told when a setting is wrong; never a secret."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificate

from bus.tls import Tls
from tests.contracts.block_store_suite import DAY, WINDOW, flush, row
from tests.servers.cassandra import PASSWORD, USERNAME, Encryption, Node, cassandra, start_cassandra
from tests.servers.maven import require_java
from tsdb.cassandra import CassandraBlocks
from tsdb.cassandra_connect import _check_versions, _replicas, _warn_of_late_sync
from tsdb.cassandra_schema import TABLES, create_keyspace, create_table
from tsdb.cassandra_settings import CassandraSettings
from tsdb.errors import StoreUnavailableError, TsdbConfigError

STORE_PASSWORD = "of-the-keystore"
ABROAD = CassandraSettings(("127.0.0.1",), datacenter="dc")


class Locked:
    """A node that asks for TLS and a user, and the authority that vouches for it."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.keystore = folder / "node.p12"
        self.show(self.authority.issue_cert("127.0.0.1"))
        self.node: Node = start_cassandra(authenticated=True, encryption=Encryption(self.keystore, STORE_PASSWORD))

    def show(self, issued: trustme.LeafCert) -> None:
        """Which certificate the node shows when it starts again."""
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        certificate = load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        secret = BestAvailableEncryption(STORE_PASSWORD.encode())
        self.keystore.write_bytes(pkcs12.serialize_key_and_certificates(b"node", key, certificate, None, secret))  # type: ignore[arg-type]

    def settings(self, **changes: Any) -> CassandraSettings:
        tls = Tls(ca_file=self.ca_file)
        return self.node.settings(**({"tls": tls, "username": USERNAME, "password": PASSWORD} | changes))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    require_java(17)
    made = Locked(tmp_path_factory.mktemp("tls"))
    yield made
    made.node.server.kill()


def told(settings: CassandraSettings) -> str:
    """The one sentence for the operator."""
    blocks = CassandraBlocks(settings)
    with pytest.raises(TsdbConfigError) as refused:
        blocks.check()
    # In flight there is nobody who could mend it at once.
    with pytest.raises(StoreUnavailableError):
        blocks.days()
    blocks.close()
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert settings.password is None or settings.password not in repr(refused.value)
    return sentence


def test_rows_go_there_and_back_encrypted_by_a_user(locked: Locked) -> None:
    blocks = CassandraBlocks(locked.settings())
    blocks.check()
    blocks.write(flush(row()))
    assert [found.block for found in blocks.rows("default", DAY, ["s/0"], WINDOW, WINDOW)] == [b"block"]
    blocks.close()


def test_a_wrong_password_is_told_without_it(locked: Locked) -> None:
    sentence = told(locked.settings(password="not-the-password"))
    assert "refuses user 'cassandra': check the username and password" in sentence


def test_a_user_that_is_asked_for_is_told(locked: Locked) -> None:
    assert "set the username and password" in told(locked.settings(username=None, password=None))


def test_a_certificate_of_an_unknown_authority_is_told(locked: Locked, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    assert "is not trusted" in told(locked.settings(tls=Tls(ca_file=stranger)))


def test_a_missing_keyspace_that_may_not_be_made_is_told(locked: Locked) -> None:
    with locked.node.session("system", locked.settings()) as session:
        session.execute("CREATE ROLE IF NOT EXISTS reader WITH PASSWORD = 'a-secret' AND LOGIN = true")
    sentence = told(locked.settings(username="reader", password="a-secret", keyspace="not_there"))
    assert "keyspace not_there is missing and user 'reader' may not make it" in sentence


def test_speaking_plainly_to_a_node_that_wants_tls_is_unavailable(locked: Locked) -> None:
    blocks = CassandraBlocks(locked.settings(tls=None, connect_timeout_s=2.0))
    with pytest.raises(StoreUnavailableError):
        blocks.check()
    blocks.close()


def test_certificates_of_another_name_and_expired_ones_are_told(locked: Locked) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    shown = (
        (locked.authority.issue_cert("elsewhere.example"), "is for another name"),
        (locked.authority.issue_cert("127.0.0.1", not_after=past), "has expired: renew it"),
    )
    for certificate, sentence in shown:
        locked.node.server.kill()
        locked.show(certificate)
        locked.node.server.start()
        assert sentence in told(locked.settings())
    unchecked = CassandraBlocks(locked.settings(tls=Tls(verify=False)))
    unchecked.check()
    unchecked.close()


def test_a_node_without_tls_is_told() -> None:
    assert "does not speak TLS" in told(cassandra().settings(tls=Tls(verify=False), connect_timeout_s=2.0))


@pytest.mark.parametrize("named", ["dc-of-nobody", ""])
def test_a_wrong_data_center_is_told_with_those_that_are_there(named: str) -> None:
    assert "set `datacenter` to one of datacenter1" in told(cassandra().settings(datacenter=named))


def test_more_replicas_than_nodes_are_told_before_a_keyspace_is_made() -> None:
    sentence = told(cassandra().settings(keyspace="of_three", replication_factor=3))
    assert "has 1 node, so keyspace of_three cannot be made with a replication factor of 3" in sentence


def test_tables_of_another_program_are_told() -> None:
    node = cassandra()
    node_settings = node.settings(keyspace="of_another")
    blocks = CassandraBlocks(node.settings())
    blocks.check()
    blocks.close()
    with node.session() as session:
        session.execute(create_keyspace(node_settings))
        session.execute("CREATE TABLE IF NOT EXISTS of_another.l0 (id int PRIMARY KEY)")
    assert "of_another.l0 has other columns than ours" in told(node_settings)


def test_tables_have_one_ttl_each_and_keep_blobs_as_they_are() -> None:
    settings = cassandra().settings()
    blocks = CassandraBlocks(settings)
    blocks.check()
    blocks.close()
    query = (
        "SELECT table_name, default_time_to_live, gc_grace_seconds, compaction, compression, speculative_retry "
        "FROM system_schema.tables"
    )
    with cassandra().session() as session:
        made = {
            found.table_name: found for found in session.execute(f"{query} WHERE keyspace_name = 'heliograph_tests'")
        }
    assert made.keys() == {table.name for table in TABLES}
    for table in TABLES:
        found = made[table.name]
        assert found.default_time_to_live == table.ttl_s(settings)
        assert found.gc_grace_seconds == 10_800
        assert found.speculative_retry == "MIN(99p,500ms)"
        if table.blobs:
            assert "TimeWindowCompactionStrategy" in found.compaction["class"]
            assert found.compression == {"enabled": "false"}


def test_another_retention_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for blocks in (CassandraBlocks(cassandra().settings()), CassandraBlocks(cassandra().settings(retention_s=7200.0))):
        caplog.clear()
        blocks.check()
        blocks.close()
    assert "heliograph_tests.l0 keeps rows for 2592000 s, the settings say 7200" in caplog.text


@pytest.mark.parametrize(
    ("sync", "replicas", "warned"), [("periodic", 2, True), ("periodic", 3, False), ("batch", 1, False)]
)
def test_a_commit_log_that_lags_behind_is_warned_of(
    sync: str, replicas: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _warn_of_late_sync({"commitlog_sync": sync}, replicas)
    assert ("commitlog_sync: batch" in caplog.text) is warned


def test_the_replicas_of_a_keyspace_that_is_there_are_those_of_our_data_center() -> None:
    assert (
        _replicas({"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc": "3", "b": "2"}, ABROAD) == 3
    )
    assert _replicas({"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "2"}, ABROAD) == 2
    for elsewhere in (
        {"class": "x.NetworkTopologyStrategy", "b": "3"},
        {"class": "x.NetworkTopologyStrategy", "dc": "0"},
    ):
        with pytest.raises(TsdbConfigError, match="no replicas in data center dc: ALTER KEYSPACE"):
            _replicas(elsewhere, ABROAD)


def test_the_node_says_how_its_commit_log_is_synced() -> None:
    with cassandra().session("system_views") as session:
        told = {found.name: found.value for found in session.execute("SELECT name, value FROM settings")}
    assert (told["commitlog_sync"], told["max_mutation_size_in_kb"]) == ("batch", "4096")


def test_an_old_server_is_told() -> None:
    hosts = [SimpleNamespace(endpoint="h:9042", datacenter="dc", release_version="3.11.17")]
    cluster = SimpleNamespace(metadata=SimpleNamespace(all_hosts=lambda: hosts))
    with pytest.raises(TsdbConfigError, match=r"version 3\.11\.17: 4\.0 is the oldest"):
        _check_versions(cluster, ABROAD)
    hosts[0].release_version = "4.0.1"
    _check_versions(cluster, ABROAD)


def test_nobody_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        blocks = CassandraBlocks(replace(ABROAD, port=taken.getsockname()[1], connect_timeout_s=2.0))
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            blocks.check()
        blocks.close()


def test_a_tls_file_that_is_none_is_told(tmp_path: Path) -> None:
    assert "cannot be used" in told(replace(ABROAD, tls=Tls(ca_file=tmp_path / "none.pem")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": ()},
        {"keyspace": "x; DROP KEYSPACE y"},
        {"space": ""},
        {"replication_factor": 0},
        {"retention_s": 10.0},
        {"retention_s": 1e10},
        {"username": "u"},
    ],
)
def test_settings_that_can_never_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TsdbConfigError):
        replace(ABROAD, **wrong)


def test_no_secret_is_shown_and_names_are_quoted() -> None:
    settings = replace(ABROAD, username="u", password="hunter2", datacenter="it's", tls=Tls(key_password="hunter3"))
    assert "hunter" not in repr(settings)
    assert "'it''s': 3" in create_keyspace(settings)
    assert all("hunter" not in create_table(table, settings) for table in TABLES)
