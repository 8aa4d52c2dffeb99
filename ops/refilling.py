"""A sink whose store is filled again from the bus when its folder was removed, though the group has committed already."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bus.port import TopicPartition
from ops.data_dir import write_private
from sinks.port import Cut, Sink, StoreUnavailableError, Written

NAME: Final = ".filled-from"


class Refilling:
    """The sink inside; a file in the store's folder lists the partitions that were ever written there, one a line.

    A partition that is not listed is read from the log's start. The router takes the group's commit back before it reads, so a crash
    after the listing and before the write still begins at the start.
    """

    def __init__(self, sink: Sink, folder: Path) -> None:
        self._sink = sink
        self._path = folder / NAME
        self.name = sink.name
        self.topics = sink.topics
        self.limits = sink.limits

    def resume(self, log_id: str, where: TopicPartition) -> int | None:
        """As the sink inside, but 0 for a partition that was never written here. Raises StoreUnavailableError."""
        return self._sink.resume(log_id, where) if _line(log_id, where) in self._listed() else 0

    def write(self, cut: Cut) -> Written:
        """As the sink inside, after listing the cut's partitions."""
        listed = self._listed()
        new = {_line(r.log_id, r.where) for r in cut.ranges} - listed
        if new:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_private(self._path, "".join(f"{line}\n" for line in sorted(listed | new)).encode())
            except OSError as error:
                raise StoreUnavailableError(f"{self._path} cannot be written: {error.strerror}") from error
        return self._sink.write(cut)

    def close(self) -> None:
        """As the sink inside."""
        self._sink.close()

    def _listed(self) -> set[str]:
        try:
            return set(self._path.read_text("utf-8", "replace").splitlines())
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StoreUnavailableError(f"{self._path} cannot be read: {error.strerror}") from error


def _line(log_id: str, where: TopicPartition) -> str:
    return f"{where.topic} {where.partition} {log_id}"
