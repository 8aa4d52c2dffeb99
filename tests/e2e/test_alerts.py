"""From a rule file to a webhook, over the real stores."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import TOLD_S, Webhook
from tests.oracle.platform_under_test import Platform, wait_for


@pytest.mark.usefixtures("value_fell")
def test_a_rule_that_holds_is_posted_as_version_4(platform: Platform, webhook: Webhook) -> None:
    wait_for("the alert is posted", lambda: bool(webhook.of("LoadIsKnown", "firing")), TOLD_S)
    body = webhook.of("LoadIsKnown", "firing")[0]
    (alert,) = body["alerts"]
    assert body["version"] == "4"
    assert body["externalURL"] == platform.http_url
    assert (alert["status"], alert["labels"]["alertname"], alert["labels"]["severity"]) == (
        "firing", "LoadIsKnown", "page",
    )  # fmt: skip
    assert alert["annotations"]["summary"].endswith(f" on {alert['labels']['instance']}")
