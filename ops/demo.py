"""The demo role: the shop and its visitors in one process, instrumented with the client alone."""

from __future__ import annotations

from typing import Final

import heliograph
from ops.demo_load import drive, visits
from ops.demo_shop import Shop, start
from ops.ports import url_of
from ops.role_context import RoleContext
from ops.settings import Settings

SERVICE: Final = "demo-shop"
SEED: Final = 4354
_FLUSH_S: Final = 1.0


def run(settings: Settings, context: RoleContext) -> int:
    """Serve and visit until told to stop."""
    handle = heliograph.configure(
        SERVICE, endpoint=url_of(settings.otlp.host, settings.otlp.port), service_version="1.0", environment="demo"
    )
    server = start(Shop(SEED))
    host, port = str(server.server_address[0]), int(server.server_address[1])
    context.serves("demo", f"http://{host}:{port}")
    context.set_ready({})
    drive(host, port, visits(SEED), context.stop, context.beat)
    server.shutdown()
    handle.shutdown(_FLUSH_S)
    return 0
