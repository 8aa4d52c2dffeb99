"""The whole of `up` as its user meets it: who may ask, what it takes, and a program that uses the client."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Webhook
from tests.e2e.running import vector
from tests.oracle.platform_under_test import Platform, wait_for

PSS_BYTES_MAX = 700 * 1024 * 1024
FOUND_S = 40.0


def pss_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def test_all_of_it_takes_at_most_700_mib(platform: Platform) -> None:
    assert platform.process is not None
    root = psutil.Process(platform.process.pid)
    tree = [root, *root.children(recursive=True)]
    assert len(tree) >= 7
    sizes = {process.pid: pss_bytes(process.pid) for process in tree}
    assert sum(sizes.values()) <= PSS_BYTES_MAX, {pid: size >> 20 for pid, size in sizes.items()}


@pytest.mark.parametrize("token", [None, "wrong", ""])
@pytest.mark.parametrize(
    "path",
    ["/api/logs", "/prometheus/api/v1/query?query=up", "/jaeger/api/services", "/api/flow", "/metrics", "/"],
)
def test_nobody_is_answered_without_the_token(platform: Platform, path: str, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(platform.http_url + path, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value:
        assert refused.value.code == 401
        assert b"Traceback" not in refused.value.read()


def test_the_token_is_in_no_log(platform: Platform) -> None:
    token = (platform.data_dir / "token").read_bytes().strip()
    written = [platform.data_dir / "up.out", *(platform.data_dir / "logs").iterdir()]
    assert not [path.name for path in written if token in path.read_bytes()]


def test_a_rule_that_holds_no_longer_is_posted_as_resolved(value_fell: None, webhook: Webhook) -> None:
    wait_for("its end is posted", lambda: bool(webhook.of("ValueIsHigh", "resolved")), FOUND_S)
    (told,) = webhook.of("ValueIsHigh", "resolved")
    (alert,) = told["alerts"]
    assert (told["version"], alert["status"], alert["labels"]["job"]) == ("4", "resolved", "alerting")
    assert alert["endsAt"] > alert["startsAt"]


def test_the_metric_of_a_program_that_uses_the_client_is_found(platform: Platform, shop_trace_id: str) -> None:
    query = 'sum by (method) ({__name__=~"shop_payments.*", job="shop"})'
    wait_for("the counter", lambda: bool(vector(platform, query)), FOUND_S)
    (series,) = vector(platform, query)
    assert (series["metric"], series["value"][1]) == ({"method": "card"}, "3")
