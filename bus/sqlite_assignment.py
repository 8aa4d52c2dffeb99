"""Which member of a group reads which log: balanced, the same for the same input, and moving as little as it can."""

from __future__ import annotations

from collections.abc import Mapping


def assign(
    topic_of: Mapping[int, str], topics_of: Mapping[str, frozenset[str]], owners: Mapping[int, str]
) -> dict[int, str]:
    """Member by log id. `topic_of` gives each log's topic, `topics_of` each member's topics, `owners` who reads a log now.

    A log that no member subscribes to is absent.
    """
    readers = {log: sorted(m for m, topics in topics_of.items() if topic in topics) for log, topic in topic_of.items()}
    assigned = {log: m for log, m in owners.items() if m in readers.get(log, ())}
    load = dict.fromkeys(topics_of, 0)
    for member in assigned.values():
        load[member] += 1
    for log in sorted(readers):
        if log not in assigned and readers[log]:
            assigned[log] = min(readers[log], key=lambda m: (load[m], m))
            load[assigned[log]] += 1
    _even_out(assigned, readers, load)
    return assigned


def _even_out(assigned: dict[int, str], readers: Mapping[int, list[str]], load: dict[str, int]) -> None:
    # Every move lowers the sum of squared loads, so this ends.
    moved = True
    while moved:
        moved = False
        for log in sorted(assigned):
            owner = assigned[log]
            lightest = min(readers[log], key=lambda m: (load[m], m))
            if load[owner] - load[lightest] > 1:
                assigned[log] = lightest
                load[owner] -= 1
                load[lightest] += 1
                moved = True
