"""One try at bringing a cut into the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bus.errors import BusError
from routers.dead_letters import DeadLetters
from sinks.port import Cut, Sink, StoreUnavailableError, Written


@dataclass(frozen=True, slots=True)
class Stored:
    """The cut is in the store and its dead letters are on their topic: its offsets may be committed."""

    written: Written
    dead_letters: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The same cut has to come again."""

    fault: str
    """Whose: store or bus."""
    reason: str


def attempt(
    sink: Sink, dead_letters: DeadLetters, cut: Cut, attempts: int, clock: Callable[[], float] = time.monotonic
) -> Stored | Failed:
    """Write the cut, then produce its dead letters; `attempts` counts from 1. Never raises."""
    began_s = clock()
    try:
        written = sink.write(cut)
        count = dead_letters.produce(written.faults, cut, attempts) if written.faults else 0
    except StoreUnavailableError as error:
        return Failed("store", str(error))
    except BusError as error:
        return Failed("bus", str(error))
    except Exception as error:  # an error of ours: nothing may be dropped for it, so it is tried again, and seen
        structlog.get_logger().exception("router_write_error", store=sink.name)
        return Failed("store", f"unexpected error: {type(error).__name__}: {error}")
    return Stored(written, count, clock() - began_s)
