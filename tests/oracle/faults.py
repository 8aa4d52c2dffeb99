"""A seeded plan of what is broken when."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass

WHOLE_PLATFORM = "up"


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at_s` after the start a role gets a signal; the role `up` is the supervisor with all its roles."""

    at_s: float
    role: str
    signal: signal.Signals

    def __str__(self) -> str:
        return f"{self.at_s:.1f}s {self.signal.name} {self.role}"


def plan(seed: int, roles: Sequence[str], duration_s: float, count: int) -> list[Fault]:
    """`count` faults in order of time: mostly SIGKILL, some SIGSTOP, now and then the whole platform."""
    chooser = random.Random(f"faults {seed}")
    times = sorted(chooser.uniform(0.05, 0.95) * duration_s for _ in range(count))
    faults = []
    for at_s in times:
        if chooser.random() < 0.1:
            faults.append(Fault(at_s, WHOLE_PLATFORM, signal.SIGKILL))
        else:
            kind = signal.SIGSTOP if chooser.random() < 0.25 else signal.SIGKILL
            faults.append(Fault(at_s, chooser.choice(list(roles)), kind))
    return faults
