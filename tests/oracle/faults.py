"""A seeded plan of what is broken when."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass

WHOLE_PLATFORM = "up"


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at_s` after the start a role or a server gets a signal; the role `up` is the supervisor with all its roles."""

    at_s: float
    role: str
    signal: signal.Signals

    def __str__(self) -> str:
        return f"{self.at_s:.1f}s {self.signal.name} {self.role}"


def plan(seed: int, roles: Sequence[str], duration_s: float, count: int, servers: Sequence[str] = ()) -> list[Fault]:
    """`count` faults in order of time: mostly SIGKILL, some SIGSTOP, now and then the whole platform. Where there are servers,
    every second fault is one of theirs, and they come in turn."""
    chooser = random.Random(f"faults {seed}")
    times = sorted(chooser.uniform(0.05, 0.95) * duration_s for _ in range(count))
    faults = []
    for number, at_s in enumerate(times):
        if servers and number % 2 == 0:
            faults.append(Fault(at_s, servers[(seed + number // 2) % len(servers)], signal.SIGKILL))
        elif chooser.random() < 0.1:
            faults.append(Fault(at_s, WHOLE_PLATFORM, signal.SIGKILL))
        else:
            kind = signal.SIGSTOP if chooser.random() < 0.25 else signal.SIGKILL
            faults.append(Fault(at_s, chooser.choice(list(roles)), kind))
    return faults
