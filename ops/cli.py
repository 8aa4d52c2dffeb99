"""The command line: `heliograph …`. Whatever is slow to import is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.config_command import app as config_app
from ops.explain import explain, is_debugging

_DATA_DIR = typer.Option(
    "--data-dir", metavar="D", help="Where data lives. [default: ./heliograph-data]", show_default=False
)
_CONFIG = typer.Option("--config", metavar="F", envvar="HELIOGRAPH_CONFIG", help="A YAML file of settings.")
_Port = Annotated[
    int | None,
    typer.Option("--port", metavar="P", min=0, max=65535, help="Of page and APIs; 0: a free one. [default: 4354]"),
]
_OtlpPort = Annotated[
    int | None,
    typer.Option(
        "--otlp-port", metavar="N", min=0, max=65535, help="Of OTLP over HTTP; 0: a free one. [default: 4318]"
    ),
]
_Follow = Annotated[
    list[str] | None, typer.Option("--follow", metavar="GLOB", help="Log files to follow; may be repeated.")
]
_Demo = Annotated[
    bool, typer.Option("--demo", help="Add a small service under load, so that there is something to see.")
]
_NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open the page in a browser.")]

app = typer.Typer(
    name="heliograph",
    help="Metrics, logs and traces on one log, in stores that can prove nothing was lost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
)
app.add_typer(config_app, name="config")


@app.command()
def up(
    data_dir: Annotated[Path | None, _DATA_DIR] = None,
    port: _Port = None,
    otlp_port: _OtlpPort = None,
    follow: _Follow = None,
    config: Annotated[Path | None, _CONFIG] = None,
    demo: _Demo = False,
    no_browser: _NoBrowser = False,
) -> None:
    """Run everything on this machine until Ctrl-C."""
    from ops.up_command import Flags, run_up

    flags = Flags(data_dir, port, otlp_port, tuple(follow or ()), config, demo, not no_browser)
    raise typer.Exit(run_up(flags))


@app.command()
def agent(config: Annotated[Path | None, _CONFIG] = None, data_dir: Annotated[Path | None, _DATA_DIR] = None) -> None:
    """Run an agent alone: collect on this machine, receive from its programs, put it all on the bus."""
    _run_role("agent", data_dir, config)


@app.command()
def router(
    store: Annotated[str, typer.Argument(metavar="STORE", help="search, archive or tsdb.")],
    config: Annotated[Path | None, _CONFIG] = None,
    data_dir: Annotated[Path | None, _DATA_DIR] = None,
) -> None:
    """Run a router alone: bring what the bus holds into one store. Several share the work."""
    _run_role(f"router-{store}", data_dir, config)


@app.command()
def query(config: Annotated[Path | None, _CONFIG] = None, data_dir: Annotated[Path | None, _DATA_DIR] = None) -> None:
    """Run a query service alone: every API, and the page."""
    _run_role("query", data_dir, config)


@app.command()
def rules(config: Annotated[Path | None, _CONFIG] = None, data_dir: Annotated[Path | None, _DATA_DIR] = None) -> None:
    """Run the alerting rules alone. Of several, one is active and the others stand by."""
    _run_role("rules", data_dir, config)


@app.command()
def login(data_dir: Annotated[Path | None, _DATA_DIR] = None) -> None:
    """Print a new link to the page of a running `up`; it is good once, for 5 minutes."""
    from ops.up_command import login_url

    typer.echo(login_url(data_dir))


@app.command(hidden=True)
def role(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    data_dir: Annotated[Path | None, _DATA_DIR] = None,
    config: Annotated[Path | None, _CONFIG] = None,
) -> None:
    """Run one role in this process."""
    _run_role(name, data_dir, config)


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def schemas(context: typer.Context) -> None:
    """Check and show the contracts: Avro schemas and topics."""
    # A group of commands of its own, passed on to whole, because importing it takes longer than our --help may.
    from ops.schemas_command import app as schemas_app

    schemas_app(context.args, prog_name="heliograph schemas")


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def grafana(context: typer.Context) -> None:
    """Put data sources and the pipeline dashboard into a Grafana."""
    # A group of commands of its own, passed on to whole, because importing it takes longer than our --help may.
    from ops.grafana_command import app as grafana_app

    grafana_app(context.args, prog_name="heliograph grafana")


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def spool(context: typer.Context) -> None:
    """Look at what the agents keep while the bus is away, and send it."""
    # A group of commands of its own, passed on to whole, because importing it takes longer than our --help may.
    from ops.spool_command import app as spool_app

    spool_app(context.args, prog_name="heliograph spool")


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as version_of

    typer.echo(version_of("heliograph-platform"))


def _run_role(name: str, data_dir: Path | None, config: Path | None) -> None:
    from ops.role_command import run_role_command

    run_role_command(name, data_dir, config)


def main() -> None:
    """The `heliograph` command: an error is one sentence on stderr and an exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has enough; flushing it at exit would complain again.
        sys.stdout = None
        sys.exit(0)
    except Exception as error:
        if is_debugging():
            raise
        sentence, exit_code = explain(error)
        print(f"heliograph: {sentence}", file=sys.stderr)
        sys.exit(exit_code)
