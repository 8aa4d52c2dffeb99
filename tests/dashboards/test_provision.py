"""Provisioning: created, then unchanged, then updated where different; errors are sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dashboards.provision import apply
from ops.grafana_command import app
from tests.dashboards.fake_grafana import TOKEN, FakeGrafana

BASE = "http://127.0.0.1:4354"


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    server = FakeGrafana()
    yield server
    server.close()


def actions(grafana: FakeGrafana, *, dry_run: bool = False) -> list[str]:
    return [c.action for c in apply(grafana.url, TOKEN, BASE, "query-secret", dry_run=dry_run)]


def test_a_second_time_changes_nothing(grafana: FakeGrafana) -> None:
    assert actions(grafana, dry_run=True) == ["create"] * 3
    assert grafana.writes == 0
    assert actions(grafana) == ["create"] * 3
    assert actions(grafana) == ["unchanged"] * 3
    assert grafana.writes == 3
    assert set(grafana.passwords.values()) == {"query-secret"}


def test_what_someone_changed_is_put_back(grafana: FakeGrafana) -> None:
    actions(grafana)
    grafana.sources["heliograph-traces"]["url"] = "http://elsewhere"
    grafana.boards["heliograph-pipeline"]["title"] = "Mine"
    assert actions(grafana) == ["unchanged", "update", "update"]
    assert actions(grafana) == ["unchanged"] * 3


def run(url: str, token: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["apply", "--url", url, "--token", token, "--query-token", "query-secret"])
    return result.exit_code, result.output


def test_the_exit_code_says_what_is_wrong_and_no_secret_is_printed(grafana: FakeGrafana) -> None:
    assert [run(grafana.url, TOKEN)[0], run(grafana.url, "wrong-secret")[0]] == [0, 78]
    assert run("http://127.0.0.1:1", TOKEN)[0] == 69
    for url, token in ((grafana.url, TOKEN), (grafana.url, "wrong-secret"), ("http://127.0.0.1:1", TOKEN)):
        assert "secret" not in run(url, token)[1]


def test_export_writes_files_without_the_token(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["export", str(tmp_path)]).exit_code == 0
    text = (tmp_path / "provisioning/datasources/heliograph.yaml").read_text()
    sources = yaml.safe_load(text)["datasources"]
    assert [s["uid"] for s in sources] == ["heliograph-metrics", "heliograph-traces"]
    assert {s["secureJsonData"]["basicAuthPassword"] for s in sources} == {"$HELIOGRAPH_TOKEN"}
    assert (tmp_path / "dashboards/heliograph/pipeline.json").exists()
