"""`heliograph grafana`: put the data sources and the pipeline dashboard into a Grafana, or into files for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from dashboards.content import data_sources, pipeline
from dashboards.errors import GrafanaAwayError, GrafanaError, GrafanaRefusedError
from dashboards.provision import apply
from ops.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_UNAVAILABLE

app = typer.Typer(help="Provision Grafana.", no_args_is_help=True)

_Base = Annotated[str, typer.Option("--base", help="The query service, as Grafana reaches it.")]


@app.command("apply")
def apply_command(
    url: Annotated[str, typer.Option(envvar="GRAFANA_URL")] = "http://127.0.0.1:3000",
    token: Annotated[str, typer.Option(envvar="GRAFANA_TOKEN", show_envvar=True)] = "",
    user: Annotated[str, typer.Option(envvar="GRAFANA_USER", help="With --password, instead of a token.")] = "",
    password: Annotated[str, typer.Option(envvar="GRAFANA_PASSWORD")] = "",
    base: _Base = "http://127.0.0.1:4354",
    query_token: Annotated[str, typer.Option(envvar="HELIOGRAPH_TOKEN", help="Of the query service.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Create or update what differs; a second time changes nothing."""
    if not (token or user) or not query_token:
        typer.echo(
            "Give --token or --user of Grafana, and --query-token (or GRAFANA_TOKEN, HELIOGRAPH_TOKEN).", err=True
        )
        raise typer.Exit(EXIT_CONFIG)
    try:
        changes = apply(url, token or (user, password), base, query_token, dry_run=dry_run)
    except GrafanaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_exit_code(error)) from None
    table = Table("would" if dry_run else "did", "kind", "uid", "differs in")
    for change in changes:
        table.add_row(change.action, change.kind, change.uid, ", ".join(change.keys))
    Console().print(table)


@app.command("export")
def export_command(folder: Path, base: _Base = "http://127.0.0.1:4354") -> None:
    """Write files for Grafana's file provisioning; the token is read from Grafana's environment."""
    secure = {"secureJsonData": {"basicAuthPassword": "$HELIOGRAPH_TOKEN"}}
    sources = {"apiVersion": 1, "datasources": [{**source, **secure} for source in data_sources(base)]}
    provider = {"name": "heliograph", "type": "file", "options": {"path": "/var/lib/grafana/dashboards/heliograph"}}
    files = {
        "provisioning/datasources/heliograph.yaml": yaml.safe_dump(sources, sort_keys=False),
        "provisioning/dashboards/heliograph.yaml": yaml.safe_dump({"apiVersion": 1, "providers": [provider]}),
        "dashboards/heliograph/pipeline.json": json.dumps(pipeline(), indent=2) + "\n",
    }
    try:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        typer.echo(f"Cannot write to {folder}: {error.strerror}.", err=True)
        raise typer.Exit(EXIT_FAILURE) from None


def _exit_code(error: GrafanaError) -> int:
    if isinstance(error, GrafanaRefusedError):
        return EXIT_CONFIG
    return EXIT_UNAVAILABLE if isinstance(error, GrafanaAwayError) else EXIT_FAILURE
