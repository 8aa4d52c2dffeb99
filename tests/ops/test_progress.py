"""What `up` tells people while it works."""

from __future__ import annotations

import io

from rich.console import Console

from ops.progress import Progress


def progress() -> tuple[Progress, io.StringIO]:
    stream = io.StringIO()
    return Progress(Console(file=stream, highlight=False), ("agent", "query")), stream


def test_piped_it_writes_a_line_for_each_step() -> None:
    told, stream = progress()
    told.event("started", "agent", "process 7")
    told.event("ready", "agent", "")
    assert stream.getvalue() == "agent: started (process 7)\nagent: ready\n"


def test_the_same_failure_is_told_once() -> None:
    told, stream = progress()
    for wait in ("0.2", "0.4", "0.8"):
        told.event("exited", "agent", f"bus.db is damaged; again in {wait} s")
        told.event("started", "agent", "process 7")
    told.event("exited", "agent", "signal 9; again in 1.6 s")
    assert stream.getvalue().splitlines() == [
        "agent: exited (bus.db is damaged; again in 0.2 s)",
        "agent: exited (signal 9; again in 1.6 s)",
    ]


def test_once_up_only_trouble_is_told() -> None:
    told, stream = progress()
    told.up()
    told.event("started", "agent", "process 7")
    told.event("ready", "agent", "")
    told.event("hung", "agent", "it does not answer")
    told.event("started", "agent", "process 8")
    told.event("ready", "agent", "")
    assert stream.getvalue() == "agent: hung (it does not answer)\nagent: ready again\n"


def test_brackets_in_details_are_no_markup() -> None:
    told, stream = progress()
    told.event("exited", "agent", "[red]x[/red]")
    assert "[red]x[/red]" in stream.getvalue()


def test_on_a_terminal_a_live_line_is_shown_and_taken_away() -> None:
    stream = io.StringIO()
    told = Progress(Console(file=stream, force_terminal=True, width=100), ("agent",))
    told.event("ready", "agent", "")
    told.up()
    assert "starting" in stream.getvalue()
