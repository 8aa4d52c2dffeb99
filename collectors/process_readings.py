"""What each of our own processes uses, with the names of Prometheus' client libraries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psutil

from collectors.host_readings import Family, Reading

_CPU = Family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.")
_RESIDENT = Family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.")
_VIRTUAL = Family("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.")
_FDS = Family("process_open_fds", "gauge", "Number of open file descriptors.")
_THREADS = Family("process_threads", "gauge", "Number of threads.")
_START = Family("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.")


def processes(pids: Mapping[str, int]) -> Iterator[Reading]:
    """Of each role by its pid; a role whose process is gone has no readings."""
    for role, pid in pids.items():
        labels = (("role", role),)
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                memory = process.memory_info()
                found = (
                    (_CPU, labels, times.user + times.system),
                    (_RESIDENT, labels, float(memory.rss)),
                    (_VIRTUAL, labels, float(memory.vms)),
                    (_FDS, labels, float(process.num_fds())),
                    (_THREADS, labels, float(process.num_threads())),
                    (_START, labels, process.create_time()),
                )
        except psutil.Error:
            continue
        yield from found
