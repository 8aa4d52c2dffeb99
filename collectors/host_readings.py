"""What this machine says of itself, with node_exporter's names, labels and units."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from heliograph.metrics import LabelPairs


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, kind (counter, gauge) and help."""

    name: str
    kind: str
    help: str


Reading = tuple[Family, LabelPairs, float]
"""Metric, its own labels sorted by key (without job and instance), value."""

_PROC = Path("/proc")
_PSEUDO_FS = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
    "hugetlbfs", "mqueue", "nsfs", "proc", "procfs", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "squashfs",
    "sysfs", "tracefs",
))  # fmt: skip
_REMOTE_FS = ("nfs", "cifs", "smb", "fuse.", "ceph", "9p", "afs", "glusterfs")  # a server that hangs would hang us
_HIDDEN_MOUNTS = re.compile(
    r"^/(?:dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)(?:$|/)"
)
_HIDDEN_DISKS = re.compile(r"^(?:z?ram|loop|fd|(?:h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$")


def _counter(name: str, help: str) -> Family:
    return Family(name, "counter", help)


def _gauge(name: str, help: str) -> Family:
    return Family(name, "gauge", help)


_CPU = _counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.")
_GUEST = _counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests for each mode.")
_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_LOAD = tuple(_gauge(f"node_load{m}", f"{m}m load average.") for m in (1, 5, 15))
_FS_SIZE = _gauge("node_filesystem_size_bytes", "Filesystem size in bytes.")
_FS_FREE = _gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.")
_FS_AVAIL = _gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.")
_FS_FILES = _gauge("node_filesystem_files", "Filesystem total file nodes.")
_FS_FILES_FREE = _gauge("node_filesystem_files_free", "Filesystem total free file nodes.")
_FS_READONLY = _gauge("node_filesystem_readonly", "Filesystem read-only status.")
_DISK = (
    (_counter("node_disk_reads_completed_total", "The total number of reads completed successfully."), "read_count", 1.0),
    (_counter("node_disk_writes_completed_total", "The total number of writes completed successfully."), "write_count", 1.0),
    (_counter("node_disk_read_bytes_total", "The total number of bytes read successfully."), "read_bytes", 1.0),
    (_counter("node_disk_written_bytes_total", "The total number of bytes written successfully."), "write_bytes", 1.0),
    (_counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads."), "read_time", 1e-3),
    (_counter("node_disk_write_time_seconds_total", "The total number of seconds spent by all writes."), "write_time", 1e-3),
    (_counter("node_disk_reads_merged_total", "The total number of reads merged."), "read_merged_count", 1.0),
    (_counter("node_disk_writes_merged_total", "The number of writes merged."), "write_merged_count", 1.0),
    (_counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os."), "busy_time", 1e-3),
)  # fmt: skip
_NETWORK = (
    (_counter("node_network_receive_bytes_total", "Network device statistic receive_bytes."), "bytes_recv"),
    (_counter("node_network_transmit_bytes_total", "Network device statistic transmit_bytes."), "bytes_sent"),
    (_counter("node_network_receive_packets_total", "Network device statistic receive_packets."), "packets_recv"),
    (_counter("node_network_transmit_packets_total", "Network device statistic transmit_packets."), "packets_sent"),
    (_counter("node_network_receive_errs_total", "Network device statistic receive_errs."), "errin"),
    (_counter("node_network_transmit_errs_total", "Network device statistic transmit_errs."), "errout"),
    (_counter("node_network_receive_drop_total", "Network device statistic receive_drop."), "dropin"),
    (_counter("node_network_transmit_drop_total", "Network device statistic transmit_drop."), "dropout"),
)
_UP = _gauge("node_network_up", "Value is 1 if the interface is up, 0 otherwise.")
_MTU = _gauge("node_network_mtu_bytes", "Network device property: mtu_bytes.")
_SPEED = _gauge("node_network_speed_bytes", "Network device property: speed_bytes.")
_BOOT = _gauge("node_boot_time_seconds", "Node boot time, in unixtime.")
_TIME = _gauge("node_time_seconds", "System time in seconds since epoch (1970).")
_UNAME = _gauge("node_uname_info", "Labeled system information as provided by the uname system call.")
_SWITCHES = _counter("node_context_switches_total", "Total number of context switches.")
_INTERRUPTS = _counter("node_intr_total", "Total number of interrupts serviced.")
_STAT = {
    "processes": _counter("node_forks_total", "Total number of forks."),
    "procs_running": _gauge("node_procs_running", "Number of processes in runnable state."),
    "procs_blocked": _gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete."),
}


def cpu() -> Iterator[Reading]:
    """Per core and mode."""
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode in _CPU_MODES:
            value = getattr(times, mode, None)
            if value is not None:
                yield _CPU, (("cpu", str(core)), ("mode", mode)), value
        for mode, name in (("user", "guest"), ("nice", "guest_nice")):
            value = getattr(times, name, None)
            if value is not None:
                yield _GUEST, (("cpu", str(core)), ("mode", mode)), value


def memory() -> Iterator[Reading]:
    """Every line of /proc/meminfo where there is one, else what psutil knows everywhere."""
    try:
        lines = (_PROC / "meminfo").read_text("ascii").splitlines()
    except OSError:
        found = psutil.virtual_memory()
        for field, amount in (("MemTotal", found.total), ("MemAvailable", found.available), ("MemFree", found.free)):
            yield _memory_field(field, "_bytes"), (), float(amount)
        return
    for line in lines:
        name, _, rest = line.partition(":")
        value, _, unit = rest.strip().partition(" ")
        field = name.replace("(", "_").replace(")", "")
        scale, suffix = (1024, "_bytes") if unit == "kB" else (1, "")
        yield _memory_field(field, suffix), (), float(value) * scale


def load() -> Iterator[Reading]:
    """Over 1, 5 and 15 minutes."""
    for family, value in zip(_LOAD, os.getloadavg(), strict=True):
        yield family, (), value


def filesystems() -> Iterator[Reading]:
    """Of local file systems; those that need a server are left out."""
    seen: set[str] = set()
    for part in psutil.disk_partitions(all=True):
        if part.mountpoint in seen or part.fstype in _PSEUDO_FS or part.fstype.startswith(_REMOTE_FS):
            continue
        if _HIDDEN_MOUNTS.match(part.mountpoint):
            continue
        seen.add(part.mountpoint)
        try:
            found = os.statvfs(part.mountpoint)
        except OSError:
            continue
        labels = (("device", part.device), ("fstype", part.fstype), ("mountpoint", part.mountpoint))
        yield _FS_SIZE, labels, float(found.f_blocks * found.f_frsize)
        yield _FS_FREE, labels, float(found.f_bfree * found.f_frsize)
        yield _FS_AVAIL, labels, float(found.f_bavail * found.f_frsize)
        yield _FS_FILES, labels, float(found.f_files)
        yield _FS_FILES_FREE, labels, float(found.f_ffree)
        yield _FS_READONLY, labels, float(bool(found.f_flag & os.ST_RDONLY))


def disks() -> Iterator[Reading]:
    """Per whole disk."""
    for device, counters in psutil.disk_io_counters(perdisk=True, nowrap=False).items():
        if _HIDDEN_DISKS.match(device):
            continue
        for family, field, scale in _DISK:
            value = getattr(counters, field, None)
            if value is not None:
                yield family, (("device", device),), value * scale


def network() -> Iterator[Reading]:
    """Per interface."""
    for device, counters in psutil.net_io_counters(pernic=True, nowrap=False).items():
        for family, field in _NETWORK:
            yield family, (("device", device),), float(getattr(counters, field))
    for device, stats in psutil.net_if_stats().items():
        labels = (("device", device),)
        yield _UP, labels, float(stats.isup)
        yield _MTU, labels, float(stats.mtu)
        if stats.speed > 0:
            yield _SPEED, labels, stats.speed * 1e6 / 8


def system() -> Iterator[Reading]:
    """Boot time, kernel, processes, context switches."""
    yield _BOOT, (), psutil.boot_time()
    yield _TIME, (), time.time()
    uname = os.uname()
    names = ("machine", "nodename", "release", "sysname", "version")
    yield _UNAME, (("domainname", "(none)"), *((n, getattr(uname, n)) for n in names)), 1.0
    stats = psutil.cpu_stats()
    yield _SWITCHES, (), float(stats.ctx_switches)
    yield _INTERRUPTS, (), float(stats.interrupts)
    try:
        lines = (_PROC / "stat").read_text("ascii").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(" ")
        if name in _STAT:
            yield _STAT[name], (), float(value)


READINGS: dict[str, Callable[[], Iterator[Reading]]] = {
    "cpu": cpu,
    "meminfo": memory,
    "loadavg": load,
    "filesystem": filesystems,
    "diskstats": disks,
    "netdev": network,
    "system": system,
}
"""By the name of node_exporter's collector."""


def _memory_field(field: str, suffix: str) -> Family:
    return _gauge(f"node_memory_{field}{suffix}", f"Memory information field {field}{suffix}.")
