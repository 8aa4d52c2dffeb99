from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.fake_agent import FakeAgent, fake_agent
from tests.client.scripts import run

APPLICATION = """
    import logging, os, sys
    import heliograph
    from heliograph.testing import InMemoryTransport
    from opentelemetry import metrics, trace
    transport = InMemoryTransport()
"""


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with fake_agent() as found:
        yield found


def test_spans_metrics_and_logs_arrive_under_one_resource() -> None:
    run(
        APPLICATION
        + """
    handle = heliograph.configure(
        "shop", service_version="1.2", environment="dev", resource_attributes={"team": "a"}, transport=transport
    )
    with trace.get_tracer("cart").start_as_current_span("checkout") as span:
        metrics.get_meter("cart").create_counter("orders", unit="{order}").add(2, {"currency": "EUR"})
        logging.getLogger("cart.pay").warning("paid %s", 42, extra={"order_id": 7})
    assert handle.flush(20)
    (record,), (sent,) = transport.logs, transport.spans
    assert (record["body"], record["attributes"]["order_id"], record["scope_name"]) == ("paid 42", 7, "cart.pay")
    assert record["trace_id"] == sent["trace_id"] == span.get_span_context().trace_id.to_bytes(16, "big")
    assert record["span_id"] == sent["span_id"]
    assert (sent["name"], sent["kind"], sent["scope_name"]) == ("checkout", 1, "cart")
    (sample,) = [s for s in transport.samples if s.name == "orders_total"]
    instance = record["resource"]["service.instance.id"]
    assert sample.value == 2 and sample.labels == {"currency": "EUR", "job": "shop", "instance": instance}
    (info,) = [s for s in transport.samples if s.name == "target_info"]
    assert info.labels["service_version"] == "1.2" and info.labels["team"] == "a"
    assert record["resource"] == sent["resource"] == sample.resource
    assert record["resource"]["service.name"] == "shop"
    assert record["resource"]["deployment.environment.name"] == "dev"
    assert {h.service for h in transport.headers} == {"shop"}
    """
    )


def test_configure_starts_no_connection_and_import_nothing_at_all() -> None:
    run(
        """
    import sys, threading, socket, subprocess
    def forbidden(event, arguments):
        if event.startswith(("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.", "os.fork")):
            raise AssertionError(event)
    sys.addaudithook(forbidden)
    written = []
    def opened(event, arguments):
        if event == "open" and arguments[1] not in (None, "r", "rb") and ".pyc" not in str(arguments[0]):
            written.append(arguments)
    sys.addaudithook(opened)
    import heliograph
    for name in heliograph.__all__:
        getattr(heliograph, name)
    assert threading.active_count() == 1, threading.enumerate()
    import logging
    assert logging.getLogger().handlers == []
    from opentelemetry import trace
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
    assert not written
    handle = heliograph.configure("shop")
    assert "heliograph-producer" not in [t.name for t in threading.enumerate()]
    """
    )


def test_the_same_settings_give_the_same_handle_and_others_replace_it_with_one_warning() -> None:
    out = run(
        APPLICATION
        + """
    logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
    first = heliograph.configure("shop", environment="dev", transport=transport)
    assert heliograph.configure("shop", environment="dev", transport=transport) is first
    assert len([h for h in logging.getLogger().handlers if isinstance(h, heliograph.HeliographHandler)]) == 1
    logging.warning("one")
    assert first.flush(20)
    second = heliograph.configure("basket", transport=transport)
    assert second is not first
    assert len([h for h in logging.getLogger().handlers if isinstance(h, heliograph.HeliographHandler)]) == 1
    logging.warning("two")
    assert second.flush(20)
    one, two = transport.logs
    assert (one["resource"]["service.name"], one["resource"]["deployment.environment.name"]) == ("shop", "dev")
    assert two["resource"]["service.name"] == "basket" and "deployment.environment.name" not in two["resource"]
    """
    )
    assert out.count("called again with other settings") == 1


def test_after_shutdown_nothing_is_sent_until_it_is_configured_again() -> None:
    run(
        APPLICATION
        + """
    handle = heliograph.configure("shop", transport=transport)
    logging.warning("one")
    assert handle.shutdown(20)
    logging.warning("two")
    with trace.get_tracer("cart").start_as_current_span("lost"): pass
    assert handle.shutdown(20) and handle.flush(20)
    again = heliograph.configure("shop", transport=transport)
    logging.warning("three")
    assert again.flush(20)
    assert [r["body"] for r in transport.logs] == ["one", "three"]
    """
    )


def test_the_environment_is_read_when_configure_is_called_and_arguments_come_first(agent: FakeAgent) -> None:
    run(
        """
    import logging, os, sys
    import heliograph
    heliograph.configure
    os.environ["OTEL_SERVICE_NAME"] = "of-environment"
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "team=a,service.version=9"
    os.environ["HELIOGRAPH_ENDPOINT"] = sys.argv[1]
    handle = heliograph.configure(service_version="1")
    logging.warning("hello")
    assert handle.flush(20)
    """,
        agent.endpoint,
    )
    services = {(m.header("hg.service") or b"").decode() for m in agent.messages}
    assert services == {"of-environment"}
    body = b"".join(m.body for m in agent.messages)
    assert b"team" in body
    assert b"service.version\x021" in body


def test_a_disabled_sdk_sets_up_nothing() -> None:
    run(
        APPLICATION
        + """
    handle = heliograph.configure("shop", transport=transport)
    logging.warning("hello")
    with trace.get_tracer("cart").start_as_current_span("lost"): pass
    assert not handle.enabled and handle.statistics is None
    assert handle.flush(0) and handle.shutdown(0)
    assert transport.messages == [] and not logging.getLogger().handlers[1:]
    """,
        OTEL_SDK_DISABLED="TRUE",
    )


def test_an_endpoint_variable_that_is_no_url_is_warned_of_and_an_argument_refused() -> None:
    out = run(
        """
    import logging, sys
    logging.basicConfig(stream=sys.stdout)
    import heliograph
    assert heliograph.configure("shop").enabled
    for wrong in ({"endpoint": "nowhere"}, {"logging_level": "LOUD"}):
        try:
            heliograph.configure("shop", **wrong)
        except ValueError as error:
            print("refused", error)
    """,
        HELIOGRAPH_ENDPOINT="nowhere",
    )
    assert "HELIOGRAPH_ENDPOINT is not used" in out
    assert out.count("refused") == 2


def test_providers_of_the_application_are_joined() -> None:
    out = run(
        APPLICATION
        + """
    logging.basicConfig(stream=sys.stdout)
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    theirs = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider())
    handle = heliograph.configure("shop", transport=transport)
    with trace.get_tracer("cart").start_as_current_span("both"): pass
    assert handle.flush(20)
    assert [s.name for s in theirs.get_finished_spans()] == [s["name"] for s in transport.spans] == ["both"]
    assert transport.spans[0]["resource"]["service.name"] == "shop"
    """
    )
    assert "Metrics are not sent" in out


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "blackholed"])
def test_a_process_without_a_server_ends_on_time(listening: bool) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:
            listener.listen()
        run(
            """
    import logging, sys, time
    import heliograph
    from opentelemetry import trace
    handle = heliograph.configure("shop", endpoint=f"http://127.0.0.1:{sys.argv[1]}")
    for n in range(1000):
        with trace.get_tracer("cart").start_as_current_span("work"):
            logging.warning("hello %s", n)
    assert handle.flush(0.05) is False
    """,
            str(listener.getsockname()[1]),
            deadline_s=25,
        )


def test_a_metric_callback_that_hangs_does_not_keep_the_process_alive() -> None:
    run(
        APPLICATION
        + """
    import threading
    handle = heliograph.configure("shop", transport=transport)
    def hang(options):
        threading.Event().wait()
        return []
    metrics.get_meter("cart").create_observable_gauge("stuck", callbacks=[hang])
    logging.warning("hello")
    assert handle.flush(1) is False
    assert handle.flush(0.1) is False
    assert [t.name for t in threading.enumerate()].count("heliograph-flush") == 1
    assert [r["body"] for r in transport.logs] == ["hello"]
    """,
        deadline_s=15,
    )


def test_an_application_that_just_ends_has_sent_everything(agent: FakeAgent) -> None:
    run(
        """
    import logging, sys
    import heliograph
    from opentelemetry import metrics, trace
    heliograph.configure("shop", endpoint=sys.argv[1])
    metrics.get_meter("cart").create_counter("orders").add(1)
    with trace.get_tracer("cart").start_as_current_span("work"):
        logging.warning("hello")
    """,
        agent.endpoint,
    )
    assert sorted({m.topic for m in agent.messages}) == ["telemetry.logs", "telemetry.metrics", "telemetry.traces"]


def test_an_application_that_dies_of_an_exception_has_sent_everything(agent: FakeAgent) -> None:
    run(
        """
    import logging, sys
    import heliograph
    heliograph.configure("shop", endpoint=sys.argv[1])
    logging.warning("last words")
    sys.stderr.close()
    raise SystemExit(3)
    """,
        agent.endpoint,
        status=3,
    )
    assert len(agent.messages) >= 1


def test_warnings_are_still_printed_where_nothing_else_is_listening() -> None:
    printed = """
    heliograph.configure("shop", transport=transport)
    sys.stderr = sys.stdout
    logging.info("quiet")
    logging.getLogger("cart").warning("loud")
    logging.getLogger("own").addHandler(logging.NullHandler())
    logging.getLogger("own").warning("handled")
    """
    assert run(APPLICATION + printed).splitlines() == ["loud"]
    assert run(APPLICATION + "    logging.basicConfig(stream=open(os.devnull, 'w'))" + printed) == ""


def test_the_exporters_are_found_by_the_environment_alone(agent: FakeAgent, tmp_path: Path) -> None:
    distribution = tmp_path / "heliograph_entry_points-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: heliograph-entry-points\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text(
        "".join(
            f"[opentelemetry_{signal}_exporter]\nheliograph = heliograph.exporters:Heliograph{name}Exporter\n"
            for signal, name in (("traces", "Span"), ("metrics", "Metric"), ("logs", "Log"))
        )
    )
    run(
        """
    from opentelemetry import metrics, trace
    from opentelemetry._logs import LogRecord, get_logger
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator
    _OTelSDKConfigurator().configure()
    metrics.get_meter("cart").create_counter("orders").add(1)
    with trace.get_tracer("cart").start_as_current_span("work"):
        get_logger("cart").emit(LogRecord(body="hello"))
    """,
        PYTHONPATH=str(tmp_path),
        HELIOGRAPH_ENDPOINT=agent.endpoint,
        OTEL_TRACES_EXPORTER="heliograph",
        OTEL_METRICS_EXPORTER="heliograph",
        OTEL_LOGS_EXPORTER="heliograph",
        OTEL_SERVICE_NAME="shop",
    )
    assert sorted({m.topic for m in agent.messages}) == ["telemetry.logs", "telemetry.metrics", "telemetry.traces"]
