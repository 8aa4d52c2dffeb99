"""The Kubernetes manifests, by schema and by what refers to what. Nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from alerts.rules import load as load_rules
from ops.roles import ROLES
from ops.settings import Settings
from ops.settings_load import load as load_settings
from query.promql.parser import parse
from tests.deploy.manifests import DEPLOY, SECRET, WORKLOADS, container, documents, named, of_kind, pod

OLDEST = "1.33"
IDS = [f"{d['kind']}-{d['metadata']['name']}" for d in documents()]


def workloads() -> list[Any]:
    return [pytest.param(d, id=d["metadata"]["name"]) for d in of_kind(*WORKLOADS)]


def role_of(workload: dict[str, Any]) -> str:
    return "-".join(container(workload)["args"])


def settings(folder: Path) -> Settings:
    """As the pods read them, with the example's secrets for the mounted ones."""
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    for key, value in named("Secret", "heliograph")["stringData"].items():
        (secrets / key).write_text(value)
    text = named("ConfigMap", "heliograph")["data"]["heliograph.yaml"]
    file = folder / "heliograph.yaml"
    file.write_text(text.replace("/etc/heliograph/secrets/", f"{secrets}/"))
    return load_settings(file, {}, {})


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("document", documents(), ids=IDS)
def test_every_object_is_valid_and_has_no_unknown_key(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_a_typing_error_would_be_found() -> None:
    document = named("Deployment", "query")
    container(document)["imagePullPolcy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, OLDEST, strict=True)


def test_all_is_in_one_namespace_and_no_two_objects_share_a_name() -> None:
    names = [(d["kind"], d["metadata"]["name"]) for d in documents()]
    assert len(names) == len(set(names))
    assert {d["metadata"].get("namespace", d["metadata"]["name"]) for d in documents()} == {"heliograph"}


def test_every_role_of_a_cluster_has_a_workload() -> None:
    assert sorted(role_of(w) for w in of_kind(*WORKLOADS)) == sorted(set(ROLES) - {"demo"})
    assert all(w["metadata"]["name"] == role_of(w) for w in of_kind(*WORKLOADS))


@pytest.mark.parametrize("workload", workloads())
def test_pods_have_no_right_that_they_do_not_need(workload: dict[str, Any]) -> None:
    whole, only = pod(workload)["securityContext"], container(workload)["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] == whole["fsGroup"] == 10001
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (only["allowPrivilegeEscalation"], only["readOnlyRootFilesystem"]) == (False, True)
    assert only["capabilities"] == {"drop": ["ALL"]}
    assert pod(workload)["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod(workload))
    assert all("hostPath" not in volume for volume in pod(workload)["volumes"])


@pytest.mark.parametrize("workload", workloads())
def test_pods_have_limits_probes_and_time_to_drain(workload: dict[str, Any]) -> None:
    from ops.role_main import DRAIN_MAX_S

    only = container(workload)
    assert set(only["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in only["resources"]["limits"]
    probes = {probe: only[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe: get["path"] for probe, get in probes.items()} == {
        "startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz",
    }  # fmt: skip
    assert {get["port"] for get in probes.values()} == {"health"}
    assert pod(workload)["terminationGracePeriodSeconds"] > DRAIN_MAX_S


@pytest.mark.parametrize("workload", workloads())
def test_what_a_pod_names_is_there(workload: dict[str, Any]) -> None:
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
    assert {mount["name"] for mount in container(workload)["volumeMounts"]} == set(volumes) | claims
    for volume in volumes.values():
        if "configMap" in volume:
            named("ConfigMap", volume["configMap"]["name"])
        if "secret" in volume:
            named("Secret", volume["secret"]["secretName"])
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == labels == workload["metadata"]["labels"]
    if workload["kind"] == "StatefulSet":
        assert named("Service", workload["spec"]["serviceName"])["spec"]["clusterIP"] == "None"


def test_selectors_find_pods_and_their_ports() -> None:
    by_labels = {tuple(sorted(w["metadata"]["labels"].items())): w for w in of_kind(*WORKLOADS)}
    for service in of_kind("Service"):
        workload = by_labels[tuple(sorted(service["spec"]["selector"].items()))]
        ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for budget in of_kind("PodDisruptionBudget"):
        assert tuple(sorted(budget["spec"]["selector"]["matchLabels"].items())) in by_labels
    guarded = {budget["metadata"]["name"] for budget in of_kind("PodDisruptionBudget")}
    assert guarded == {w["metadata"]["name"] for w in of_kind("Deployment", "StatefulSet")}


def test_the_network_is_closed_but_for_what_is_named() -> None:
    closed = named("NetworkPolicy", "nobody")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = [w["metadata"]["labels"].items() for w in of_kind(*WORKLOADS)]
    for policy in of_kind("NetworkPolicy"):
        wanted = policy["spec"]["podSelector"].get("matchLabels", {}).items()
        assert any(wanted <= found for found in labels)


def test_the_settings_are_valid_and_choose_the_engines_of_production(tmp_path: Path) -> None:
    found = settings(tmp_path)
    parts = (found.bus, found.registry, found.search, found.archive, found.tsdb)
    assert [p.engine for p in parts] == ["kafka", "confluent", "elasticsearch", "s3", "cassandra"]
    assert found.http.token is not None
    assert found.otlp.token is not None


def test_every_secret_is_used_and_none_is_in_the_settings(tmp_path: Path) -> None:
    text = named("ConfigMap", "heliograph")["data"]["heliograph.yaml"]
    keys = named("Secret", "heliograph")["stringData"]
    assert {line.rpartition("/")[2] for line in text.split() if line.startswith("/etc/heliograph/secrets/")} == set(
        keys
    )
    assert all(value.startswith("replace-me") for value in keys.values())
    assert SECRET.parent != DEPLOY / "kubernetes"


def test_ports_and_paths_are_those_of_the_settings(tmp_path: Path) -> None:
    found = settings(tmp_path)
    ports = {p["name"]: p["containerPort"] for w in of_kind(*WORKLOADS) for p in container(w)["ports"]}
    assert ports == {"health": found.health.port, "http": found.http.port, "otlp": found.otlp.port}
    engines = named("NetworkPolicy", "engines")["spec"]["egress"][1]["ports"]
    assert [p["port"] for p in engines] == [9093, 8443, 9200, 9000, found.tsdb.cassandra.port]
    for workload in of_kind(*WORKLOADS):
        mounted = [Path(mount["mountPath"]) for mount in container(workload)["volumeMounts"]]
        assert any(found.data_dir.is_relative_to(path) for path in mounted)
        (config,) = container(workload)["env"]
        assert (config["name"], Path(config["value"]).name) == ("HELIOGRAPH_CONFIG", "heliograph.yaml")
    service = named("Service", "query")
    assert found.rules.query_url == f"http://query.heliograph.svc:{service['spec']['ports'][0]['port']}"


def test_the_rule_files_load(tmp_path: Path) -> None:
    def check(expression: str) -> None:
        parse(expression)

    files = named("ConfigMap", "heliograph-rules")["data"]
    (mount,) = (m for m in container(named("StatefulSet", "rules"))["volumeMounts"] if m["name"] == "rules")
    assert [str(file) for file in settings(tmp_path).rules.files] == [f"{mount['mountPath']}/{name}" for name in files]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        groups = load_rules(tmp_path / name, 60.0, check)
        assert groups
        assert all(group.rules and not group.not_evaluated for group in groups)


def test_files_are_yaml_without_tabs() -> None:
    for file in (DEPLOY / "kubernetes").glob("*.yaml"):
        assert "\t" not in file.read_text()
        assert all(isinstance(document, dict) for document in yaml.safe_load_all(file.read_text()))
