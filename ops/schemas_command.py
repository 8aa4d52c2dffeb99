"""`heliograph schemas`: check the contracts that ship with the client, and show them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import fastavro
import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bus.compatibility import incompatibilities
from heliograph import contracts
from heliograph.contracts import Schema, schema_from_text

_TOPIC_FIELDS = {"schema", "partitions", "retention_hours", "owner", "producers", "consumers", "description"}
_DEAD_LETTERS = "telemetry.deadletters."
_ROUTER = "router."

app = typer.Typer(help="Check and show the Avro schemas and topics of the bus.", no_args_is_help=True)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as is done when the output is no terminal.")]


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule looked at on one thing; `problem` is empty when it holds."""

    subject: str
    rule: str
    problem: str


def shipped() -> Path:
    """The folder of schemas that is installed with the client."""
    return Path(str(resources.files("heliograph").joinpath("schemas")))


def check_all(folder: Path) -> list[Finding]:
    """Every rule on every schema, earlier version, example and topic of a folder."""
    findings: list[Finding] = []
    schemas: dict[str, Schema] = {}
    for path in sorted(folder.glob("*.avsc")):
        try:
            schemas[path.stem] = schema_from_text(path.stem, path.read_text("utf-8"))
        except (ValueError, KeyError, fastavro.schema.SchemaParseException) as error:
            findings.append(Finding(path.stem, "is Avro", f"{type(error).__name__}: {error}"))
            continue
        findings.append(Finding(path.stem, "is Avro", ""))
        missing = list(_undocumented(schemas[path.stem].parsed, path.stem))
        findings.append(Finding(path.stem, "has docs", f"no doc: {', '.join(missing)}" if missing else ""))
    findings += _check_history(folder, schemas)
    for name, schema in schemas.items():
        findings += _check_examples(folder / "examples", name, schema)
    findings += _check_topics(folder, schemas)
    return findings


def example_problem(schema: Schema, document: Any) -> str:
    """Why a document in Avro's JSON encoding is not exactly one datum of the schema; empty when it is."""
    try:
        (datum,) = fastavro.json_reader(io.StringIO(json.dumps(document)), schema.parsed)
        fastavro.validation.validate(datum, schema.parsed, strict=True)
        encoded = io.BytesIO()
        fastavro.schemaless_writer(encoded, schema.parsed, datum, strict=True)
        encoded.seek(0)
        text = io.StringIO()
        fastavro.json_writer(text, schema.parsed, [fastavro.schemaless_reader(encoded, schema.parsed, None)])
    except Exception as error:  # fastavro raises whatever its codecs stumble over
        return f"{type(error).__name__}: {error}"
    # What was left out or added shows only in what comes back.
    different = _first_difference(document, json.loads(text.getvalue()), schema.name)
    return f"{different} differs after a round trip" if different else ""


def _undocumented(schema: Any, path: str) -> Iterator[str]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _undocumented(branch, path)
    elif isinstance(schema, dict):
        for field in schema.get("fields", ()):
            where = f"{path}.{field['name']}"
            if not str(field.get("doc", "")).strip():
                yield where
            yield from _undocumented(field["type"], where)
        for part in ("items", "values"):
            if part in schema:
                yield from _undocumented(schema[part], path)


def _check_history(folder: Path, schemas: Mapping[str, Schema]) -> Iterator[Finding]:
    seen = set()
    for path in sorted((folder / "history").glob("*.avsc")):
        name, _, version = path.stem.rpartition(".")
        seen.add(name)
        rule = f"is FULL_TRANSITIVE with {version}"
        if name not in schemas:
            yield Finding(name, rule, "the schema itself is gone")
            continue
        earlier = schema_from_text(name, path.read_text("utf-8"))
        yield Finding(name, rule, "; ".join(incompatibilities(earlier.parsed, schemas[name].parsed)))
    for name in sorted(schemas.keys() - seen):
        yield Finding(name, "has a history", "no earlier version: copy it to history/ when it is first released")


def _check_examples(examples: Path, name: str, schema: Schema) -> Iterator[Finding]:
    for kind in ("valid", "invalid"):
        paths = sorted((examples / kind / name).glob("*.json"))
        if not paths:
            yield Finding(name, f"has {kind} examples", f"none in examples/{kind}/{name}")
        for path in paths:
            document = json.loads(path.read_text("utf-8"))
            if kind == "valid":
                yield Finding(name, f"takes {path.stem}", example_problem(schema, document))
                continue
            problem = example_problem(schema, document["value"])
            wrong = "" if document["reason"] in problem else f"expected {document['reason']!r}, found {problem!r}"
            yield Finding(name, f"refuses {path.stem}", wrong)


def _check_topics(folder: Path, schemas: Mapping[str, Schema]) -> Iterator[Finding]:
    topics: dict[str, dict[str, Any]] = yaml.safe_load((folder / "topics.yaml").read_text("utf-8"))["topics"]
    for name, entry in topics.items():
        odd = _TOPIC_FIELDS ^ entry.keys()
        yield Finding(name, "has its fields", f"missing or unknown: {', '.join(sorted(odd))}" if odd else "")
        if not odd:
            unknown = "" if entry["schema"] in schemas else f"no schema {entry['schema']}"
            yield Finding(name, "has a schema", unknown)
            positive = entry["partitions"] > 0 and entry["retention_hours"] > 0
            yield Finding(name, "has partitions and a retention", "" if positive else "both must be above 0")
    counts = [topics.get(t, {}).get("partitions") for t in (contracts.LOGS_TOPIC, contracts.TRACES_TOPIC)]
    equal = counts[0] is not None and counts[0] == counts[1]
    yield Finding("topics", "logs and traces share partitions", "" if equal else f"{counts[0]} and {counts[1]}")
    routers = {c for entry in topics.values() for c in entry.get("consumers", ()) if c.startswith(_ROUTER)}
    wanted = {_DEAD_LETTERS + router.removeprefix(_ROUTER) for router in routers}
    odd_topics = wanted ^ {name for name in topics if name.startswith(_DEAD_LETTERS)}
    yield Finding("topics", "each router has a dead-letter topic", ", ".join(sorted(odd_topics)))


def _first_difference(expected: Any, found: Any, path: str) -> str:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *found]:
            where = f"{path}.{key}"
            if key not in expected or key not in found:
                return where
            if deeper := _first_difference(expected[key], found[key], where):
                return deeper
        return ""
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = zip(expected, found, strict=True)
        return next((d for i, (a, b) in enumerate(pairs) if (d := _first_difference(a, b, f"{path}[{i}]"))), "")
    return "" if expected == found and type(expected) is type(found) else path


@app.command()
def check(as_json: _AsJson = False) -> None:
    """Check docs, compatibility with all earlier versions, examples and topics. Exits 1 when a rule is broken."""
    findings = check_all(shipped())
    broken = [f for f in findings if f.problem]
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps({"checked": len(findings), "broken": [asdict(f) for f in broken]}))
    else:
        table = Table("", "of", "rule", "problem")
        for finding in findings:
            table.add_row(
                "[red]✗[/]" if finding.problem else "[green]✓[/]", finding.subject, finding.rule, finding.problem
            )
        Console().print(table)
        Console().print(f"{len(findings)} rules checked, {len(broken)} broken")
    raise typer.Exit(1 if broken else 0)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A schema; all are listed without it.")] = "", as_json: _AsJson = False
) -> None:
    """Show which schemas there are, or the fields of one."""
    names = sorted(path.stem for path in shipped().glob("*.avsc"))
    if name and name not in names:
        typer.echo(f"There is no schema {name}; there are {', '.join(names)}.", err=True)
        raise typer.Exit(1)
    if name:
        schema = contracts.schema(name)
        shown, table = schema.text, _fields_table(schema)
    else:
        rows = [_summary(contracts.schema(n)) for n in names]
        shown, table = json.dumps(rows), _summary_table(rows)
    if as_json or not sys.stdout.isatty():
        typer.echo(shown)
    else:
        Console().print(table)


def _summary(schema: Schema) -> dict[str, Any]:
    topics = sorted(t.name for t in contracts.topics().values() if t.schema == schema.name)
    fields = [f["name"] for f in schema.parsed["fields"]]
    return {
        "name": schema.name,
        "id": schema.offline_id,
        "topics": topics,
        "fields": fields,
        "doc": schema.parsed["doc"],
    }


def _summary_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("schema", "id", "topics", "what it is")
    for row in rows:
        table.add_row(row["name"], str(row["id"]), "\n".join(row["topics"]), escape(row["doc"]))
    return table


def _fields_table(schema: Schema) -> Table:
    table = Table("field", "type", "what it is", title=f"{schema.parsed['name']}, id {schema.offline_id}")
    for path, kind, doc in _fields(schema.parsed, ""):
        table.add_row(*map(escape, (path, kind, doc)))
    return table


def _fields(schema: Any, path: str) -> Iterator[tuple[str, str, str]]:
    for field in schema["fields"]:
        where = f"{path}{field['name']}"
        yield where, _type_words(field["type"]), field["doc"]
        items = field["type"].get("items") if isinstance(field["type"], dict) else None
        if isinstance(items, dict) and "fields" in items:
            yield from _fields(items, f"{where}[].")


def _type_words(kind: Any) -> str:
    if isinstance(kind, list):
        return " | ".join(map(_type_words, kind))
    if isinstance(kind, str):
        return kind.rpartition(".")[2]
    if kind["type"] in ("array", "map"):
        return f"{kind['type']} of {_type_words(kind.get('items') or kind['values'])}"
    if kind["type"] == "fixed":
        return f"{kind['size']} bytes"
    return str(kind.get("name", kind["type"])).rpartition(".")[2]
