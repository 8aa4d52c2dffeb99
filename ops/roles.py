"""The composition root: which role is made of what. Each role imports its packages when it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ops.role_context import RoleContext, RunRole
from ops.settings import Settings

if TYPE_CHECKING:
    from sinks.port import Sink


def run_agent(settings: Settings, context: RoleContext) -> int:
    """Collects on this machine and receives from its programs."""
    from bus.sqlite import SqliteBus
    from collectors.agent import Agent
    from ops.agent_config import StatusCollector, agent_config, notes, role_pids, unready
    from ops.bus_retention import start_trimming
    from ops.engines import open_bus, open_registry
    from ops.ports import url_of

    bus = open_bus(settings, context)
    registry = open_registry(settings, context)
    agent = Agent(agent_config(settings, context), bus, registry, pids=lambda: role_pids(context.data_dir))
    is_listening: list[int] = []

    def on_ready(port: int) -> None:
        context.serves("otlp_http", url_of(settings.otlp.host, port))
        is_listening.append(port)

    def beat() -> None:
        context.beat()
        status = agent.status()
        context.set_ready(unready(status, bool(is_listening)))
        context.set_notes(notes(status))

    context.metrics.register(StatusCollector(agent.status))
    if isinstance(bus, SqliteBus):
        start_trimming(bus, context.stop, context.log)
    agent.run(context.stop, beat, on_ready)
    bus.close()
    return 0


def run_router_search(settings: Settings, context: RoleContext) -> int:
    """Brings logs and spans into the document store."""
    from ops.engines import open_document_sink
    from ops.standby import await_turn

    if settings.search.engine == "tantivy" and not await_turn(context, context.data_dir / "search", "search"):
        return 0
    return run_router(settings, context, open_document_sink(settings, context))


def run_router_archive(settings: Settings, context: RoleContext) -> int:
    """Brings everything into the archive."""
    from ops.engines import open_object_sink

    return run_router(settings, context, open_object_sink(settings, context))


def run_router_tsdb(settings: Settings, context: RoleContext) -> int:
    """Brings samples into the time-series store."""
    from ops.engines import open_sample_sink

    return run_router(settings, context, open_sample_sink(settings, context))


def run_query(settings: Settings, context: RoleContext) -> int:
    """Answers every API and serves the page."""
    from importlib import resources
    from pathlib import Path

    from prometheus_client import generate_latest

    from ops.data_dir import token
    from ops.engines import open_blocks, open_bus, open_documents
    from ops.flow_snapshot import FlowSnapshot
    from ops.login_codes import LoginCodes
    from ops.ports import url_of
    from ops.store_checks import StoreChecks
    from query.api.app import Services, build
    from query.api.auth import Sessions
    from query.api.serve import listen, serve
    from query.promql.engine import Engine
    from tsdb.reader import TsdbReader

    secret = settings.http.token.get_secret_value() if settings.http.token else token(context.data_dir)
    samples = TsdbReader(open_blocks(settings, context))
    documents = open_documents(settings, context)
    checks = StoreChecks(
        {"search": lambda: documents.services("default"), "tsdb": lambda: samples.metadata("default", "up")},
        time.monotonic,
    )
    services = Services(
        samples=samples,
        engine=Engine(samples),
        documents=documents,
        flow=FlowSnapshot(open_bus(settings, context), context.data_dir, secret).now,
        ready=checks.reasons,
        metrics=lambda: generate_latest(context.metrics),
        static=Path(str(resources.files("web") / "static")),
    )
    application, flow = build(services, Sessions(secret), LoginCodes(context.data_dir, time.time).redeem)
    listener = listen(settings.http.host, settings.http.port)
    context.serves("http", url_of(settings.http.host, listener.getsockname()[1]))
    context.set_ready({})
    serve(application, flow, listener, context.stop, context.beat)
    return 0


def run_rules(settings: Settings, context: RoleContext) -> int:
    """Evaluates alerting rules and tells the webhooks."""
    from alerts.evaluator import Evaluator
    from alerts.notifier import Notifier
    from alerts.rules import load
    from alerts.webhook import post
    from ops.data_dir import token
    from ops.ports import url_of
    from ops.rules_query import HttpQuery

    def check(expression: str) -> None:
        # Only where there are rules: the parser's imports take a quarter of a second.
        from query.promql.parser import parse

        parse(expression)

    groups = [group for file in settings.rules.files for group in load(file, settings.rules.evaluation_interval, check)]
    secret = settings.http.token.get_secret_value() if settings.http.token else token(context.data_dir)
    url = settings.rules.query_url.rstrip("/") or url_of(settings.http.host, settings.http.port)
    webhooks = [hook.get_secret_value() for hook in settings.rules.webhooks]
    notifier = Notifier(webhooks, url, lambda to, body: post(to, body, 5.0), context.log)
    state_file = context.data_dir / "run" / f"alerts{context.instance.name.removeprefix(context.name)}.json"
    evaluator = Evaluator(
        groups,
        HttpQuery(url, secret),
        notifier,
        state_file,
        context.log,
        is_active=_is_active(settings, context, bool(groups)),
    )
    context.set_ready({})
    evaluator.run(context.stop, context.beat)
    return 0


def _is_active(settings: Settings, context: RoleContext, has_rules: bool) -> Callable[[], bool]:
    if not has_rules:
        return lambda: True
    from ops.active import Active
    from ops.engines import open_bus

    member = f"rules.{context.instance.id}"
    return Active(lambda: open_bus(settings, context), "rules", member, context.stop, time.monotonic).is_active


def run_demo(settings: Settings, context: RoleContext) -> int:
    """A small service under its own load, to have something to see."""
    from ops.demo import run

    return run(settings, context)


ROLES: Final[Mapping[str, RunRole]] = {
    "agent": run_agent,
    "router-search": run_router_search,
    "router-archive": run_router_archive,
    "router-tsdb": run_router_tsdb,
    "query": run_query,
    "rules": run_rules,
    "demo": run_demo,
}


def run_router(settings: Settings, context: RoleContext, sink: Sink) -> int:
    """One router until told to stop."""
    from ops.engines import open_bus
    from routers.router import Router

    bus = open_bus(settings, context)

    def beat() -> None:
        context.beat()
        reasons = router.status().reasons
        context.set_ready({sink.name: "; ".join(reasons)} if reasons else {})

    router = Router(
        bus,
        sink,
        group=f"router.{sink.name}",
        member=f"router.{sink.name}.{context.instance.id}",
        stop=context.stop,
        registry=context.metrics,
        beat=beat,
    )
    router.run()
    bus.close()
    return 0
