"""`heliograph config validate | show`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Check and show the settings.", no_args_is_help=True, rich_markup_mode=None)

_FILE = typer.Argument(metavar="[FILE]", envvar="HELIOGRAPH_CONFIG", show_default=False)


@app.command()
def validate(file: Annotated[Path | None, _FILE] = None) -> None:
    """Check a file together with the environment; exit 78 when something is wrong."""
    from ops.settings_load import load

    load(file, os.environ, {})
    typer.echo(f"{file or 'the environment'}: ok", err=True)


@app.command()
def show(
    file: Annotated[Path | None, _FILE] = None,
    effective: Annotated[bool, typer.Option("--effective", help="With the defaults of all that is not set.")] = False,
) -> None:
    """Print the settings as YAML, secrets masked."""
    import yaml

    from ops.settings import masked
    from ops.settings_load import load

    shown = masked(load(file, os.environ, {}), only_set=not effective)
    typer.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), nl=False)
