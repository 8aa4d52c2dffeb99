"""Work that overlaps: while requests are under way, the next bodies are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_flight(
    threads: ThreadPoolExecutor, count_max: int, work: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Results in the tasks' order. The next task is made, and waits, while `count_max` are worked on. When one fails, those under
    way are waited for, nothing more is begun, and its error is raised.
    """
    running: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            while len(running) >= count_max:
                yield running.popleft().result()
            running.append(threads.submit(work, task))
        while running:
            yield running.popleft().result()
    finally:
        wait(running)
