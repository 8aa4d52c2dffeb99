"""The composition root: which role is made of what. Each role imports its packages when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ops.role_context import RoleContext, RunRole
from ops.settings import Settings

if TYPE_CHECKING:
    from bus.embedded_registry import EmbeddedRegistry
    from bus.sqlite import SqliteBus
    from sinks.decode import WriterSchemas
    from sinks.port import Sink


def run_agent(settings: Settings, context: RoleContext) -> int:
    """Collects on this machine and receives from its programs."""
    from collectors.agent import Agent
    from ops.agent_config import StatusCollector, agent_config, role_pids, unready
    from ops.bus_retention import start_trimming
    from ops.ports import url_of

    bus = open_bus(settings, context)
    agent = Agent(
        agent_config(settings, context), bus, open_registry(context), pids=lambda: role_pids(context.data_dir)
    )
    is_listening: list[int] = []

    def on_ready(port: int) -> None:
        context.serves("otlp_http", url_of(settings.otlp.host, port))
        is_listening.append(port)

    def beat() -> None:
        context.beat()
        context.set_ready(unready(agent.status(), bool(is_listening)))

    context.metrics.register(StatusCollector(agent.status))
    start_trimming(bus, context.stop, context.log)
    agent.run(context.stop, beat, on_ready)
    bus.close()
    return 0


def run_router_search(settings: Settings, context: RoleContext) -> int:
    """Brings logs and spans into the document store."""
    from ops.refilling import Refilling
    from ops.store_retention import Retiring
    from search.tantivy_writer import TantivyWriter
    from sinks.documents import DocumentSink

    writer = TantivyWriter(context.data_dir / "search")
    schemas = writer_schemas(context)
    sink = Retiring(DocumentSink(writer, schemas), writer.retire, settings.search.retention)
    return run_router(settings, context, Refilling(sink, context.data_dir / "search"))


def run_router_archive(settings: Settings, context: RoleContext) -> int:
    """Brings everything into the archive."""
    import secrets

    from archive.local import LocalObjects
    from sinks.objects import ObjectSink

    objects = LocalObjects(context.data_dir / "archive")
    return run_router(settings, context, ObjectSink(objects, writer_schemas(context), secrets.token_hex(6)))


def run_router_tsdb(settings: Settings, context: RoleContext) -> int:
    """Brings samples into the time-series store."""
    import secrets

    from ops.refilling import Refilling
    from ops.store_retention import Retiring, retire_blocks
    from sinks.samples import SampleSink
    from tsdb.sqlite import SqliteBlocks

    blocks = SqliteBlocks(context.data_dir / "tsdb")
    sink = SampleSink(blocks, writer_schemas(context), secrets.token_hex(6))
    retiring = Retiring(sink, retire_blocks(blocks), settings.tsdb.retention)
    return run_router(settings, context, Refilling(retiring, context.data_dir / "tsdb"))


def run_query(settings: Settings, context: RoleContext) -> int:
    """Answers every API and serves the page."""
    import time
    from importlib import resources
    from pathlib import Path

    from prometheus_client import generate_latest

    from ops.data_dir import token
    from ops.flow_snapshot import FlowSnapshot
    from ops.login_codes import LoginCodes
    from ops.ports import url_of
    from ops.store_checks import StoreChecks
    from query.api.app import Services, build
    from query.api.auth import Sessions
    from query.api.serve import listen, serve
    from query.promql.engine import Engine
    from search.tantivy_reader import TantivyReader
    from tsdb.reader import TsdbReader
    from tsdb.sqlite import SqliteBlocks

    secret = settings.http.token.get_secret_value() if settings.http.token else token(context.data_dir)
    samples = TsdbReader(SqliteBlocks(context.data_dir / "tsdb"))
    documents = TantivyReader(context.data_dir / "search")
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
    url = url_of(settings.http.host, settings.http.port)
    webhooks = [hook.get_secret_value() for hook in settings.rules.webhooks]
    notifier = Notifier(webhooks, url, lambda to, body: post(to, body, 5.0), context.log)
    state_file = context.data_dir / "run" / "alerts.json"
    evaluator = Evaluator(groups, HttpQuery(url, secret), notifier, state_file, context.log)
    context.set_ready({})
    evaluator.run(context.stop, context.beat)
    return 0


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
        member=f"router.{sink.name}",
        stop=context.stop,
        registry=context.metrics,
        beat=beat,
    )
    router.run()
    bus.close()
    return 0


def open_bus(settings: Settings, context: RoleContext) -> SqliteBus:
    """The bus, with every topic there."""
    from bus.sqlite import SqliteBus
    from heliograph import contracts

    bus = SqliteBus(
        context.data_dir / "bus" / "bus.db",
        session_timeout_s=settings.bus.session_timeout,
        file_bytes_max=settings.bus.file_bytes_max,
    )
    bus.create_topics({topic.name: topic.partitions for topic in contracts.topics().values()})
    return bus


def open_registry(context: RoleContext) -> EmbeddedRegistry:
    """The registry, with the schema of every topic in it."""
    from bus.embedded_registry import EmbeddedRegistry
    from heliograph import contracts

    registry = EmbeddedRegistry(context.data_dir / "bus" / "registry.db")
    for topic in contracts.topics().values():
        registry.register(f"{topic.name}-value", contracts.schema(topic.schema))
    return registry


def writer_schemas(context: RoleContext) -> WriterSchemas:
    """What decodes records of any registered schema."""
    from sinks.decode import WriterSchemas

    return WriterSchemas(open_registry(context))
