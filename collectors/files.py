"""Log files as a source: each line is on the bus exactly once in effect, whatever is killed when (PROTOCOLS §1)."""

from __future__ import annotations

import concurrent.futures
import glob
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from collectors import ledger_facts
from collectors.errors import OutboxClosedError, OutboxFullError
from collectors.file_follow import FollowConfig, Follower
from collectors.file_journal import Journal, Position
from collectors.file_lines import Cut, cut_lines
from collectors.file_records import PARSER_VERSION, Intent, seal
from collectors.file_tail import Tail
from collectors.outbox import Outbox
from heliograph import contracts
from heliograph.identity import Mint
from heliograph.message import HeaderList, Message, partition_of
from heliograph.records import Source as ResourceOf

_POLL_S = 0.25
_GLOB_S = 1.0
_REMEMBER_S = 3600.0
_FORGET_AFTER_S = 7 * 24 * 3600
_ROUND_BATCHES_MAX = 16
_FILE_BATCHES_MAX = 4
_DRAIN_S = 3.0


@dataclass(frozen=True, slots=True)
class _Batch:
    intent: Intent
    message: Message


class FileSource:
    """Follows files. Before a batch goes, an intent that can make it again is on disk; after a crash unfinished intents go first."""

    name = "files"

    def __init__(
        self,
        follow: Sequence[FollowConfig],
        journal_path: Path,
        outbox: Outbox,
        mint: Mint,
        *,
        hostname: str,
        schema_id: Callable[[], int] = lambda: contracts.schema("log_batch").wire_id,
        clock: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._follow = follow
        self._journal_path = journal_path
        self._outbox = outbox
        self._mint = mint
        self._hostname = hostname
        self._schema_id = schema_id
        self._clock = clock
        self._time_ns = time_ns
        self._versions: dict[str, str] = {}
        self._counts = dict.fromkeys(("files", "refused_files", "lines", "batches", "resent", "source_gone"), 0)

    def status(self) -> dict[str, int | float | str]:
        return dict(self._counts)

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        self._versions.clear()
        with closing(Journal.open(self._journal_path)) as journal:
            if not self._resend(journal, stop, beat):
                return
            with closing(Follower(self._follow, journal.positions())) as follower:
                self._loop(journal, follower, stop, beat)

    def _loop(self, journal: Journal, follower: Follower, stop: threading.Event, beat: Callable[[], None]) -> None:
        glob_at = remember_at = self._clock()
        finished: list[int] = []
        while not stop.is_set():
            beat()
            now = self._clock()
            if now >= glob_at:
                glob_at = now + _GLOB_S
                self._remember(journal, follower.look(now, self._time_ns()))
                self._counts |= {"files": len(follower.tails), "refused_files": len(follower.refused)}
            else:
                follower.check(now, self._time_ns())
            if now >= remember_at:
                remember_at = now + _REMEMBER_S
                self._remember(journal, list(follower.tails.values()))
                journal.forget(self._seconds() - _FORGET_AFTER_S)
            batches, positions = self._gather(journal, follower, now)
            if finished or batches or positions:
                journal.commit(finished, [(b.intent, b.message.headers) for b in batches], positions)
                finished = []
            if not batches:
                stop.wait(_POLL_S)
                continue
            if not self._deliver([b.message for b in batches], stop, beat):
                return
            finished = [b.intent.sequence for b in batches]
            self._counts["batches"] += len(batches)
        if finished:
            journal.commit(finished, (), ())

    def _gather(self, journal: Journal, follower: Follower, now: float) -> tuple[list[_Batch], list[Position]]:
        """Batches of this round, at most 4 MiB over all files, and the positions that they lead to."""
        batches: list[_Batch] = []
        moved: list[Tail] = []
        sequence = journal.next_sequence
        tails = list(follower.tails.values())
        start = int(now / _POLL_S) % len(tails) if tails else 0  # another file is the first each time
        for tail in tails[start:] + tails[:start]:
            for _ in range(_FILE_BATCHES_MAX):
                cut = tail.read(now) if len(batches) < _ROUND_BATCHES_MAX else None
                if cut is None:
                    break
                if tail not in moved:
                    moved.append(tail)
                if cut.lines:
                    batches.append(self._batch(journal, tail, cut, sequence + len(batches)))
                    self._counts["lines"] += len(cut.lines)
        return batches, [tail.position(self._seconds()) for tail in moved]

    def _batch(self, journal: Journal, tail: Tail, cut: Cut, sequence: int) -> _Batch:
        resource = {"service.name": tail.service, "host.name": self._hostname}
        partition = partition_of(ResourceOf(resource).key, contracts.topics()[contracts.LOGS_TOPIC].partitions)
        version = self._config_version(journal, resource)
        intent = Intent(
            sequence, partition, tail.device, tail.inode, tail.path, cut.first, cut.next, self._time_ns(), self._schema_id(),
            version,
        )  # fmt: skip
        return _Batch(intent, seal(cut.lines, intent, journal.producer_id, resource))

    def _config_version(self, journal: Journal, resource: Mapping[str, str]) -> str:
        text = json.dumps([PARSER_VERSION, resource], sort_keys=True)
        version = self._versions.get(text)
        if version is None:
            version = self._versions[text] = hashlib.sha256(text.encode()).hexdigest()[:16]
            journal.remember_config(version, resource)
        return version

    def _remember(self, journal: Journal, tails: Sequence[Tail]) -> None:
        if tails:
            journal.commit((), (), [tail.position(self._seconds()) for tail in tails])

    def _deliver(self, messages: Sequence[Message], stop: threading.Event, beat: Callable[[], None]) -> bool:
        """Wait until the bus has them; False when the agent stops first. Raises what the bus has against them."""
        try:
            return self._wait(messages, stop, beat)
        except OutboxClosedError:
            return False

    def _wait(self, messages: Sequence[Message], stop: threading.Event, beat: Callable[[], None]) -> bool:
        give_up_at = None
        waiting: list[Future[None]] = []
        todo = list(messages)
        while todo or waiting:
            beat()
            while todo:
                try:
                    waiting.append(self._outbox.submit(todo[:1]))
                except OutboxFullError:
                    break
                del todo[0]
            done, _ = concurrent.futures.wait(waiting, timeout=0.1)
            for future in done:
                future.result()
                waiting.remove(future)
            if todo and not waiting:
                stop.wait(0.1)
            if stop.is_set():
                give_up_at = give_up_at or self._clock() + _DRAIN_S
                if self._clock() >= give_up_at:
                    return False
        return True

    def _resend(self, journal: Journal, stop: threading.Event, beat: Callable[[], None]) -> bool:
        """Send what a crash left unfinished: the same bytes again, or the fact that they are gone; False when stopped."""
        for intent, headers in journal.unfinished():
            message = _again(journal, intent, headers)
            if message is None:
                time_ms = self._time_ns() // 1_000_000
                lost = ledger_facts.dropped(contracts.LOGS_TOPIC, headers, "source_gone", time_ms, self._mint)
                self._counts["source_gone"] += 1
            else:
                self._counts["resent"] += 1
            if not self._deliver([lost if message is None else message.again()], stop, beat):
                return False
            journal.commit([intent.sequence], (), ())
        return True

    def _seconds(self) -> int:
        return self._time_ns() // 1_000_000_000


def _again(journal: Journal, intent: Intent, headers: HeaderList) -> Message | None:
    """The batch of an intent, made from the file again; none when the file no longer holds those bytes."""
    expected = next((v for k, v in headers if k == "hg.crc32c"), b"")
    for path in _candidates(intent):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            cut = cut_lines(
                lambda at, size, fd=fd: os.pread(fd, size, at),  # type: ignore[misc]
                intent.first,
                intent.next,
                flush=True,
                bytes_max=None,
            )
            if not cut.lines:
                continue
            message = seal(cut.lines, intent, journal.producer_id, journal.resource(intent.config_version))
        except (OSError, AssertionError, KeyError):
            continue
        finally:
            os.close(fd)
        if message.header("hg.crc32c") == expected:
            return message
    return None


def _candidates(intent: Intent) -> list[str]:
    """Where the file may be now: under its path, else under whatever name in the folder it was renamed to."""
    folder = Path(intent.path).parent
    renamed = []
    try:
        with os.scandir(folder) as entries:
            renamed = [e.path for e in entries if e.is_file() and e.stat().st_ino == intent.inode]
    except OSError:
        return []
    copies = sorted(str(p) for p in folder.glob(glob.escape(Path(intent.path).name) + "[.-]*") if p.is_file())
    return list(dict.fromkeys([*renamed, intent.path, *copies]))
