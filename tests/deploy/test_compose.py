"""The compose file and the image, by schema and by what refers to what. Nothing is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomllib
import yaml
from compose_spec import PyCompose

from ops.roles import ROLES
from ops.settings import Settings
from ops.settings_load import load
from tests.deploy.manifests import DEPLOY, ROOT

COMPOSE = DEPLOY / "compose.yaml"
TOKEN = "t" * 40


def services() -> dict[str, Any]:
    found = yaml.safe_load(COMPOSE.read_text())["services"]
    assert isinstance(found, dict)
    return found


def roles() -> dict[str, Any]:
    return {name: service for name, service in services().items() if service["image"].startswith("heliograph:")}


def settings() -> Settings:
    environment = {"HELIOGRAPH_TOKEN": TOKEN, "HELIOGRAPH_S3_SECRET": "s"}
    return load(DEPLOY / "compose.heliograph.yaml", environment, {})


def test_it_is_valid_compose() -> None:
    # Merge keys are resolved before: the schema knows plain values only.
    plain = yaml.safe_dump(yaml.safe_load(COMPOSE.read_text()))
    assert sorted(PyCompose.from_yaml(plain).service_names()) == sorted(services())


def test_a_typing_error_would_be_found() -> None:
    broken = yaml.safe_load(COMPOSE.read_text())
    broken["services"]["kafka"]["enviroment"] = {}
    with pytest.raises(ValueError, match="enviroment"):
        PyCompose.from_yaml(yaml.safe_dump(broken))


def test_there_is_one_of_each_role() -> None:
    assert sorted(roles()) == sorted("-".join(service["command"]) for service in roles().values())
    assert sorted(roles()) == sorted(set(ROLES) - {"demo"})


def test_roles_have_no_right_that_they_do_not_need() -> None:
    for name, service in roles().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["volumes"] == [f"{name}:/var/lib/heliograph"]


def test_ports_are_open_on_loopback_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:4318:4318", "127.0.0.1:4354:4354"]


def test_every_volume_and_config_is_declared_and_used() -> None:
    whole = yaml.safe_load(COMPOSE.read_text())
    used = {volume.partition(":")[0] for service in services().values() for volume in service.get("volumes", ())}
    assert used == set(whole["volumes"])
    for config in whole["configs"].values():
        assert (DEPLOY / config["file"]).is_file()


def test_the_settings_are_valid_and_name_services() -> None:
    found = settings()
    parts = (found.bus, found.registry, found.search, found.archive, found.tsdb)
    assert [p.engine for p in parts] == ["kafka", "confluent", "elasticsearch", "s3", "cassandra"]
    text = (DEPLOY / "compose.heliograph.yaml").read_text()
    hosts = {
        *re.findall(r"https?://([a-z0-9-]+)", text),
        *found.tsdb.cassandra.hosts,
        found.bus.kafka.bootstrap.split(":")[0],
    }
    assert hosts == {"kafka", "registry", "elasticsearch", "s3", "cassandra", "query"}
    assert hosts <= set(services())


def test_what_is_secret_comes_from_outside() -> None:
    found = settings()
    assert found.http.token is not None
    assert found.http.token.get_secret_value() == TOKEN
    for name, service in services().items():
        for key, value in service.get("environment", {}).items():
            if re.search("TOKEN|SECRET|PASSWORD", key):
                assert re.match(r"\$\{[A-Z_0-9]+:\?", value), (name, key)


def test_the_image_holds_every_package_and_runs_as_nobody() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {source for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for source in line.split()}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["build-backend"]["module-name"]
    assert copied >= {*packages, "client", "schemas", "pyproject.toml", "requirements.lock"}
    assert all((ROOT / source).exists() for source in copied)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]


def test_readers_are_told_that_it_was_not_run() -> None:
    assert "Nobody has run these files" in Path(DEPLOY / "README.md").read_text()
