from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.naming import label_name, labels, metric_name, resource_labels, series_labels, target_labels


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("http.server.requests", "{request}", "counter", "http_server_requests_total"),
        ("disk.io", "By", "counter", "disk_io_bytes_total"),
        ("disk.io.total", "By", "counter", "disk_io_bytes_total"),
        ("disk_io_bytes", "By", "gauge", "disk_io_bytes"),
        ("speed", "By/s", "gauge", "speed_bytes_per_second"),
        ("requests", "{request}/m", "gauge", "requests_per_minute"),
        ("cpu.utilization", "1", "gauge", "cpu_utilization_ratio"),
        ("cpu.count", "1", "counter", "cpu_count_total"),
        ("load", "%", "gauge", "load_percent"),
        ("temp", "Cel", "gauge", "temp_celsius"),
        ("odd", "widgets", "gauge", "odd_widgets"),
        ("a..b--c__d", "", "gauge", "a_b_c_d"),
        ("job:rate:sum", "", "gauge", "job:rate:sum"),
        ("3d.points", "", "gauge", "_3d_points"),
        ("ünïcode", "", "gauge", "n_code"),
        ("日本", "", "gauge", "_"),
    ],
)
def test_a_metric_is_named_with_its_unit_and_type(name: str, unit: str, kind: str, expected: str) -> None:
    assert metric_name(name, unit, kind) == expected


@given(st.text(), st.text(max_size=8), st.sampled_from(["counter", "gauge", "histogram", "summary"]))
def test_every_metric_name_is_one_that_prometheus_reads(name: str, unit: str, kind: str) -> None:
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", metric_name(name, unit, kind))


@given(st.text())
def test_every_label_name_is_one_that_prometheus_reads_and_none_is_reserved(key: str) -> None:
    name = label_name(key)
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
    assert not name.startswith("__")


def test_a_label_name_keeps_one_underscore_and_marks_a_leading_digit() -> None:
    assert [label_name(k) for k in ("http.method", "_x", "__name__", "9lives", "")] == [
        "http_method", "_x", "_name_", "key_9lives", "_",
    ]  # fmt: skip


def test_values_of_keys_that_become_one_label_are_joined() -> None:
    assert labels({"a.b": "2", "a_b": "3", "a-b": "1"}) == {"a_b": "1;2;3"}


def test_the_target_is_named_by_namespace_service_and_instance() -> None:
    resource = {"service.namespace": "shop", "service.name": "cart", "service.instance.id": "i1", "host.name": "h"}
    assert target_labels(resource) == {"job": "shop/cart", "instance": "i1"}


def test_without_an_instance_id_the_host_is_the_instance() -> None:
    assert target_labels({"service.name": "cart", "host.name": "h"}) == {"job": "cart", "instance": "h"}
    assert target_labels({}) == {}


def test_an_attribute_cannot_take_the_place_of_the_target_and_is_not_lost() -> None:
    found = series_labels({"job": "mine", "path": "/"}, {"job": "cart", "instance": "i1"})
    assert found == {"job": "cart", "instance": "i1", "exported_job": "mine", "path": "/"}


def test_target_info_carries_the_resource_and_names_the_target_once() -> None:
    resource = {"service.name": "cart", "service.instance.id": "i1", "host.name": "h", "cloud.region": "r"}
    assert resource_labels(resource) == {"job": "cart", "instance": "i1", "host_name": "h", "cloud_region": "r"}
