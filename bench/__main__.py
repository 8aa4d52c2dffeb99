"""`make bench`: what one core does, each figure beside its ceiling, in one run on the seeded load."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import archive, bus, cassandra, elastic, logs, metrics, metrics_ingest, s3
from .line import Line


def _samples(folder: Path) -> list[Line]:
    return [Line(name, value, unit) for name, value, unit in metrics_ingest.run()]


PARTS: dict[str, Callable[[Path], list[Line]]] = {
    "metrics": metrics.run,
    "samples": _samples,
    "logs": logs.run,
    "archive": archive.run,
    "bus": bus.run,
}
ON_SERVERS: dict[str, Callable[[Path], list[Line]]] = {
    "elastic": elastic.run,
    "s3": s3.run,
    "cassandra": cassandra.run,
}
"""Only when they are asked for by name: each starts servers, and takes minutes."""


def main() -> int:
    """Print the lines as a table, or as JSON when piped."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    known = PARTS | ON_SERVERS
    default = f"default: all but {', '.join(ON_SERVERS)}, which start real servers"
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(known)}; {default}")
    args = parser.parse_args()
    unknown = [name for name in args.parts if name not in known]
    if unknown:
        parser.error(f"{unknown[0]} is not a part; parts are {', '.join(known)}")
    lines: list[Line] = []
    progress = Console(stderr=True)
    for name in args.parts or PARTS:
        with progress.status(f"measuring {name}"), tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder:
            lines += known[name](Path(folder))
    if not sys.stdout.isatty():
        print(json.dumps([asdict(line) for line in lines], indent=1))
        return 0
    table = Table(title=f"Heliograph on {platform.machine()}, Python {platform.python_version()}")
    for column in ("what", "figure", "unit", "ceiling", "of ceiling", ""):
        table.add_column(column, justify="right" if column in ("figure", "ceiling", "of ceiling") else "left")
    for line in lines:
        share = f"{line.value / line.ceiling:.0%}" if line.ceiling else ""
        ceiling = f"{line.ceiling:,.0f} ({line.ceiling_name})" if line.ceiling else ""
        table.add_row(
            line.name,
            f"{line.value:,.1f}" if line.value < 1000 else f"{line.value:,.0f}",
            line.unit,
            ceiling,
            share,
            line.note,
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
