"""The platform that most of these tests share: it follows a folder, evaluates a rule, and tells a webhook."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import inputs
from tests.e2e.running import bus_of, running, send
from tests.oracle.platform_under_test import Platform, wait_for

TOLD_S = 40.0

PROGRAM = """
import logging, sys
import heliograph
from opentelemetry import metrics, trace

handle = heliograph.configure(service_name="shop", endpoint=sys.argv[1])
with trace.get_tracer("shop").start_as_current_span("pay the bill") as span:
    logging.getLogger("shop").warning("card %s declined", "periwinkle", extra={"order": 4711})
    print(format(span.get_span_context().trace_id, "032x"))
metrics.get_meter("shop").create_counter("shop_payments").add(3, {"method": "card"})
sys.exit(0 if handle.shutdown() else 1)
"""
RULES = """
groups:
  - name: e2e
    interval: 1s
    rules:
      - alert: LoadIsKnown
        expr: node_load1 >= 0
        labels: {severity: page}
        annotations: {summary: "load {{ $value }} on {{ $labels.instance }}"}
      - alert: ValueIsHigh
        expr: e2e_alerting > 10
"""


@dataclass(slots=True)
class Webhook:
    """What was posted; safe from any thread."""

    posted: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def of(self, alert: str, status: str) -> list[dict[str, Any]]:
        return [p for p in list(self.posted) if p["groupLabels"] == {"alertname": alert} and p["status"] == status]


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    heard = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield heard
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose *.log files are followed."""
    return tmp_path_factory.mktemp("followed")


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, followed: Path, webhook: Webhook) -> Iterator[Platform]:
    root = tmp_path_factory.mktemp("shared")
    (root / "rules.yaml").write_text(RULES)
    config = {"rules": {"files": [str(root / "rules.yaml")], "webhooks": [webhook.url]}}
    (root / "heliograph.yaml").write_text(json.dumps(config))
    shared = Platform(root / "data", (f"{followed}/*.log*",), ("--config", str(root / "heliograph.yaml")))
    with bus_of(shared.data_dir) as bus:
        bus.produce([inputs.samples("alerting", {"a": 11.0}, name="e2e_alerting")])
    with running(shared):
        yield shared


@pytest.fixture(scope="session")
def value_fell(platform: Platform, webhook: Webhook) -> None:
    """The value that ValueIsHigh watches was high when the platform started, and is low now."""
    wait_for("the alert is posted", lambda: bool(webhook.of("ValueIsHigh", "firing")), TOLD_S)
    assert send(platform, inputs.samples("alerting", {"a": 9.0}, name="e2e_alerting"))[0] == 200


@pytest.fixture(scope="session")
def shop_trace_id(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that uses the client has run; the trace that it made."""
    program = tmp_path_factory.mktemp("shop") / "shop.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), platform.otlp_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    return done.stdout.strip()
