"""Roles as processes of their own, as containers would run them: no supervisor, several of each side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .platform_under_test import free_port, wait_for

TOKEN = "oracle-token-of-at-least-thirty-two-bytes"
START_S = 90.0
END_S = 30.0


@dataclass(slots=True)
class RolesAlone:
    """Processes by a name of their own, all with one configuration."""

    folder: Path
    config: str
    """YAML of the engines; ports, token and data directories come from here."""
    shared: bool
    """Whether they share a data directory, as embedded engines need it; else each has its own."""
    otlp_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Start `heliograph COMMAND`; returns at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "heliograph.yaml"
        path.write_text(
            f"http: {{token: {TOKEN}, port: {self.http_port}}}\notlp: {{port: {self.otlp_port}}}\n{self.config}"
        )
        whole = [sys.executable, "-m", "ops", *command, "--config", str(path), "--data-dir", str(self.data_dir(name))]
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                whole, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **(environment or {})}
            )
        self.commands[name] = command

    def again(self, name: str) -> None:
        """Start what was stopped or killed, with the same data directory."""
        self.start(name, *self.commands[name])

    def stop(self, name: str) -> int:
        """SIGTERM; the exit code."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(END_S)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(END_S)

    def kill_all(self) -> None:
        """SIGKILL whatever runs."""
        for name in list(self.processes):
            self.kill(name)

    def data_dir(self, name: str) -> Path:
        """Where a process keeps what is its own."""
        return self.folder / ("data" if self.shared else f"data-{name}")

    def said(self, name: str) -> str:
        """What the process has written."""
        return (self.folder / f"{name}.out").read_text("utf-8", "replace")

    def reasons(self, name: str) -> Mapping[str, str] | None:
        """Why a process cannot do its work, by part, empty when it can; None when it does not answer."""
        process = self.processes.get(name)
        if process is None:
            return None
        cards = [json.loads(card.read_bytes()) for card in (self.data_dir(name) / "run").glob("*.json")]
        health = next((card.get("health") for card in cards if card.get("pid") == process.pid), None)
        if health is None:
            return None
        try:
            with urllib.request.urlopen(f"{health}/readyz", timeout=2.0) as answer:
                body = answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                body = refused.read()
        except OSError:
            return None
        found = json.loads(body)["reasons"]
        assert isinstance(found, dict)
        return found

    def await_ready(self, *names: str) -> None:
        """Each can do its work; fails at once when one has ended."""
        for name in names:
            wait_for(f"{name} is ready; it said {self.said(name)[-500:]}", lambda: self._is_ready(name), START_S)  # noqa: B023

    def await_answer(self, name: str) -> None:
        """It runs, whether it can do its work or stands by."""
        wait_for(f"{name} answers", lambda: self.reasons(name) is not None, START_S)

    def get(self, path: str, port: int | None = None) -> Any:
        """An answer of a query service; raises OSError while it is away."""
        url = f"http://127.0.0.1:{port or self.http_port}{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10.0) as answer:
            return json.loads(answer.read())

    @property
    def otlp_url(self) -> str:
        return f"http://127.0.0.1:{self.otlp_port}"

    def _is_ready(self, name: str) -> bool:
        process = self.processes[name]
        assert process.poll() is None, f"{name} ended with {process.returncode}: {self.said(name)[-2000:]}"
        return self.reasons(name) == {}
