"""Answers as Grafana 11 does where provisioning asks, and checks what it is sent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_secret"


class FakeGrafana:
    def __init__(self) -> None:
        self.sources: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.passwords: dict[str, str] = {}
        self.writes = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else {}
                status, answer = outer.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = _do  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def answer(self, method: str, path: str, auth: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/api/health":
            return 200, {"database": "ok", "version": "11.6.0", "commit": "x"}
        if auth != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        uid = path.rsplit("/", 1)[1]
        if method == "GET" and path.startswith("/api/datasources/uid/"):
            return (200, self.sources[uid]) if uid in self.sources else (404, {"message": "Data source not found"})
        if method == "GET" and path.startswith("/api/dashboards/uid/"):
            found = {"dashboard": self.boards.get(uid), "meta": {"version": 1}}
            return (200, found) if uid in self.boards else (404, {"message": "Dashboard not found"})
        self.writes += 1
        if path.startswith("/api/datasources"):
            self.passwords[body["uid"]] = body.pop("secureJsonData")["basicAuthPassword"]
            self.sources[body["uid"]] = {**body, "id": len(self.sources) + 1, "readOnly": False}
            return 200, {"message": "done", "datasource": self.sources[body["uid"]]}
        assert (method, path, body["overwrite"]) == ("POST", "/api/dashboards/db", True)
        board = body["dashboard"]
        self.boards[board["uid"]] = {**board, "id": 1, "version": 1}
        return 200, {"status": "success", "uid": board["uid"]}
