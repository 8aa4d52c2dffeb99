"""One measured line, and how CPU is counted."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Line:
    """A figure beside its ceiling: what the same work costs with everything but the unavoidable left out."""

    name: str
    value: float
    unit: str
    ceiling: float | None = None
    ceiling_name: str = ""
    note: str = ""


def cpu_s() -> float:
    """User and system CPU of this process, all threads, and of its ended children, in seconds."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@dataclass(slots=True)
class Spent:
    """CPU and wall seconds of a `with` block."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    _start: tuple[float, float] = field(default=(0.0, 0.0))

    def __enter__(self) -> Spent:
        self._start = (cpu_s(), time.perf_counter())
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s = max(1e-9, cpu_s() - self._start[0])
        self.wall_s = max(1e-9, time.perf_counter() - self._start[1])
