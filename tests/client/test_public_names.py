from __future__ import annotations

import ast
from pathlib import Path

import pytest

import heliograph
from tests.client.scripts import run

CLIENT = Path(__file__).parents[2] / "client"
MODULES = sorted((CLIENT / "src" / "heliograph").rglob("*.py"))


def test_the_public_names_are_these() -> None:
    assert heliograph.__all__ == [
        "AgentTransport",
        "Handle",
        "HeliographError",
        "HeliographHandler",
        "HeliographLogExporter",
        "HeliographMetricExporter",
        "HeliographSpanExporter",
        "KafkaSettings",
        "KafkaTransport",
        "Producer",
        "Transport",
        "configure",
    ]


def test_every_public_name_is_there_and_documented() -> None:
    for name in heliograph.__all__:
        assert getattr(heliograph, name).__doc__, name
    assert dir(heliograph) == heliograph.__all__


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        heliograph.nonsense  # noqa: B018


def test_a_public_name_stays_itself_when_the_modules_are_imported() -> None:
    run("""
    import heliograph, importlib, pathlib
    for path in pathlib.Path(heliograph.__file__).parent.glob("*.py"):
        importlib.import_module(f"heliograph.{path.stem}")
    assert callable(heliograph.configure)
    assert all(not hasattr(getattr(heliograph, name), "__path__") for name in heliograph.__all__)
    """)


def test_the_codec_does_not_import_the_sdk() -> None:
    run("""
    import sys
    import heliograph, heliograph.message, heliograph.metrics, heliograph.points, heliograph.producer, heliograph.records
    assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_keep_to_the_syntax_of_python_3_10(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 10))
    assert "except*" not in path.read_text("utf-8")


def test_the_example_in_the_readme_runs() -> None:
    text = (CLIENT / "README.md").read_text("utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in example.splitlines() if line]) <= 12
    run(
        f"""
import heliograph
from heliograph.testing import InMemoryTransport
transport = InMemoryTransport()
import functools
heliograph.configure = functools.partial(heliograph.configure, transport=transport)
{example}
assert transport.logs[0]["body"] == "paid"
assert transport.logs[0]["attributes"]["order_id"] == 42
assert transport.spans[0]["name"] == "checkout"
assert [s.value for s in transport.samples if s.name == "orders_total"] == [1.0]
"""
    )
