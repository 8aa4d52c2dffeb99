"""`heliograph spool ls | check | drain`: what the agents of a data directory keep while the bus is away."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from heliograph.errors import SpoolTakenError
from heliograph.message import Message
from heliograph.spool import Spool, inspect
from heliograph.spool_folder import SegmentFigures
from ops.errors import EXIT_FAILURE, UnavailableError
from ops.settings import Settings
from ops.spools import Sent, send, spool_folders

app = typer.Typer(
    help="Look at what the agents of a data directory keep while the bus is away, and send it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="D", help="Where data lives. [default: ./heliograph-data]", show_default=False),
]
_Config = Annotated[
    Path | None, typer.Option("--config", metavar="F", envvar="HELIOGRAPH_CONFIG", help="A YAML file of settings.")
]
_WELL: Final = ("", "torn end")
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as is done when the output is no terminal.")]


@dataclass(frozen=True, slots=True)
class Row:
    """A segment, as it is shown."""

    spool: str
    """Its folder, within the data directory."""
    segment: str
    since: str
    """When its first batch came, in UTC."""
    bytes: int
    batches: int
    torn_bytes: int
    bad_frames: int
    state: str


@app.command()
def ls(data_dir: _DataDir = None, config: _Config = None, as_json: _AsJson = False) -> None:
    """List the segments, oldest first."""
    rows = _rows(_settings(data_dir, config).data_dir)
    table = Table(
        "spool", _segment_column(), Column("since", min_width=10), "bytes", "batches", "state", pad_edge=False
    )
    for row in rows:
        table.add_row(row.spool, row.segment, row.since, str(row.bytes), str(row.batches), row.state)
    _show(rows, table, as_json)


@app.command()
def check(data_dir: _DataDir = None, config: _Config = None, as_json: _AsJson = False) -> None:
    """Read every batch and say what is damaged; exit 1 when something is. The end of a file may be torn by a crash: that is well."""
    rows = _rows(_settings(data_dir, config).data_dir)
    damaged = [row for row in rows if row.state not in _WELL]
    table = Table("", "spool", _segment_column(), "batches", "torn bytes", "bad places", "state")
    for row in rows:
        mark = "[red]✗[/]" if row in damaged else "[green]✓[/]"
        torn, bad = str(row.torn_bytes), str(row.bad_frames)
        table.add_row(mark, row.spool, row.segment, str(row.batches), torn, bad, row.state)
    _show(rows, table, as_json)
    typer.echo(f"{len(rows)} segments, {len(damaged)} damaged", err=True)
    raise typer.Exit(EXIT_FAILURE if damaged else 0)


@app.command()
def drain(data_dir: _DataDir = None, config: _Config = None) -> None:
    """Send everything to the bus, while no agent runs: an agent does it by itself. Exit 69 when the bus is away."""
    settings = _settings(data_dir, config)
    taken: list[Path] = []
    with ExitStack() as opened:
        spools: list[Spool] = []
        for folder in spool_folders(settings.data_dir):
            spool = Spool(folder, bytes_max=settings.agent.spool.bytes_max, dropped=_keep_all)
            opened.callback(spool.close)
            try:
                spool.open()
            except SpoolTakenError:
                taken.append(folder)
            else:
                spools.append(spool)
        _drain([spool for spool in spools if spool.segments_unread], settings)
    if taken:
        raise UnavailableError(f"an agent runs on {', '.join(map(str, taken))}: it drains the spool by itself")


def _settings(data_dir: Path | None, config: Path | None) -> Settings:
    from ops.settings_load import load

    settings = load(config, os.environ, {"data_dir": str(data_dir)} if data_dir else {})
    if not settings.data_dir.is_dir():
        raise UnavailableError(f"there is no data directory {settings.data_dir}: name it with --data-dir")
    return settings


def _rows(data_dir: Path) -> list[Row]:
    return [_row(str(folder.relative_to(data_dir)), f) for folder in spool_folders(data_dir) for f in inspect(folder)]


def _row(spool: str, figures: SegmentFigures) -> Row:
    since = datetime.fromtimestamp(figures.time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return Row(
        spool, figures.name, since, figures.bytes, figures.batches, figures.torn_bytes, figures.bad_frames,
        _state(figures),
    )  # fmt: skip


def _state(figures: SegmentFigures) -> str:
    if figures.name.endswith(".bad"):
        return "damaged; sent as far as it can be read, and set aside"
    if figures.is_damaged:
        return "damaged"
    return "torn end" if figures.torn_bytes else ""


def _segment_column() -> Column:
    return Column("segment", no_wrap=True, min_width=30)  # the whole name, to be found in the folder


def _show(rows: Sequence[Row], table: Table, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps([asdict(row) for row in rows]))
    else:
        Console().print(table)


def _drain(spools: Sequence[Spool], settings: Settings) -> None:
    from ops.engines import open_bus_of

    if not spools:
        typer.echo("nothing waits in a spool", err=True)
        return
    with closing(open_bus_of(settings, settings.data_dir, "spool")) as bus, _progress() as progress:
        task = progress.add_task("sending", total=sum(spool.bytes_held for spool in spools))
        sent = [send(spool, bus, lambda count: progress.advance(task, count)) for spool in spools]
    typer.echo(_said(sent), err=True)


def _keep_all(messages: Sequence[Message], reason: str) -> None:
    raise AssertionError(f"{len(messages)} batches would be dropped: {reason}")  # nothing is appended, so nothing is


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, disable=not console.is_terminal, transient=True)


def _said(sent: Sequence[Sent]) -> str:
    text = f"batches sent: {sum(each.batches for each in sent)}"
    if refused := sum(each.refused for each in sent):
        text += f"; never taken by the bus, and named in the ledger: {refused}"
    if damaged := sum(each.damaged_segments for each in sent):
        text += f"; damaged segments set aside: {damaged}"
    return text
