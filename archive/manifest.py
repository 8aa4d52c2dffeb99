"""The manifest: one entry per archived offset range, each named by the offset that it begins with.

The entries of a partition are a chain: each begins where the former ends, the first at offset 0, so that two entries can never
overlap: of two writers at the same end exactly one succeeds in put_if_absent.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import fastavro

from archive.containers import read_container, write_container
from archive.port import CorruptArchiveError, ObjectStore
from heliograph.message import HeaderList

ROOT: Final = "_manifest/"
_ENTRY_BYTES_MAX: Final = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Chain:
    """Whose entries they are: one partition of one log."""

    topic: str
    log_id: str
    partition: int

    @property
    def prefix(self) -> str:
        return f"{ROOT}{self.topic}/{self.log_id}/{self.partition:05d}/"


@dataclass(frozen=True, slots=True)
class Block:
    """One archived message, but for its body."""

    offset: int
    append_time_ms: int
    headers: HeaderList


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """One container, whose blocks are in the order of `blocks`."""

    key: str
    size_bytes: int
    crc32c: int
    tenant: str
    event_hour: int
    """Hours since the epoch."""
    schema_id: int
    time_min_ns: int
    time_max_ns: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message of the range that the archive did not take."""

    offset: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of the offsets [first, next)."""

    chain: Chain
    first: int
    next: int
    resume: int
    """Where reading goes on after it: `next`, or the first offset whose dead letter may not have been produced."""
    writer: str
    objects: tuple[ArchivedObject, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    lost: bool = False
    """The log had expired the range before it was archived."""

    @property
    def key(self) -> str:
        return entry_key(self.chain, self.first)


def lost_entry(chain: Chain, first: int, next_: int, writer: str) -> Entry:
    """An entry for offsets that the log had expired before they were archived."""
    return Entry(chain, first, next_, next_, writer, lost=True)


def entry_key(chain: Chain, first: int) -> str:
    """Where the entry that begins at `first` is; keys are in the order of offsets."""
    return f"{chain.prefix}{first:020d}.avro"


def put_entry(objects: ObjectStore, entry: Entry) -> None:
    """Make the entry's objects exist. Raises ObjectExistsError when another writer went on from `first` before."""
    objects.put_if_absent(entry.key, _encode(entry))


def last_entry(objects: ObjectStore, chain: Chain) -> Entry | None:
    """The end of the chain; reading goes on at its `next`. Raises CorruptArchiveError."""
    key = ""
    for info in objects.list(chain.prefix):
        key = info.key
    return get_entry(objects, key) if key else None


def entries(objects: ObjectStore, prefix: str = ROOT) -> Iterator[Entry]:
    """Entries under a prefix (ROOT, a topic's or a chain's), by chain and offset. Raises CorruptArchiveError."""
    for info in objects.list(prefix):
        yield get_entry(objects, info.key)


def covering(objects: ObjectStore, chain: Chain, first: int, end: int) -> Iterator[Entry]:
    """The chain's entries that overlap [first, end)."""
    before = ""
    wanted = []
    for info in objects.list(chain.prefix):
        if info.key <= entry_key(chain, first):
            before = info.key
        elif info.key < entry_key(chain, end):
            wanted.append(info.key)
        else:
            break
    for key in ([before] if before else []) + wanted:
        entry = get_entry(objects, key)
        if entry.next > first:
            yield entry


def get_entry(objects: ObjectStore, key: str) -> Entry:
    """Read one entry; raises CorruptArchiveError, NoSuchObjectError."""
    container = read_container(key, objects.get(key), _ENTRY_BYTES_MAX)
    if container.schema_text != _schema_text() or len(container.blocks) != 1:
        raise CorruptArchiveError(key, "not a manifest entry of this version")
    try:
        found = fastavro.schemaless_reader(io.BytesIO(container.blocks[0]), _schema(), None)
    except Exception as error:  # fastavro raises whatever its reader stumbles over
        raise CorruptArchiveError(key, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise CorruptArchiveError(key, "not a manifest entry")
    entry = _entry(found)
    if entry.key != key:
        raise CorruptArchiveError(key, f"it holds the entry {entry.key}")
    return entry


def _encode(entry: Entry) -> bytes:
    document = {
        **asdict(entry.chain),
        "first": entry.first,
        "next": entry.next,
        "resume": entry.resume,
        "writer": entry.writer,
        "lost": entry.lost,
        "objects": [_object_document(o) for o in entry.objects],
        "skipped": [asdict(s) for s in entry.skipped],
    }
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, _schema(), document)
    return write_container(_schema_text(), [stream.getvalue()])


def _object_document(o: ArchivedObject) -> dict[str, Any]:
    return {
        "key": o.key, "bytes": o.size_bytes, "crc32c": o.crc32c, "tenant": o.tenant, "event_hour": o.event_hour,
        "schema_id": o.schema_id, "time_min_ns": o.time_min_ns, "time_max_ns": o.time_max_ns,
        "blocks": [
            {
                "offset": b.offset, "append_time_ms": b.append_time_ms,
                "headers": [{"key": k, "value": v} for k, v in b.headers],
            } for b in o.blocks
        ],
    }  # fmt: skip


def _entry(d: dict[str, Any]) -> Entry:
    return Entry(
        Chain(d["topic"], d["log_id"], d["partition"]), d["first"], d["next"], d["resume"], d["writer"],
        tuple(_object(o) for o in d["objects"]), tuple(Skipped(**s) for s in d["skipped"]), d["lost"],
    )  # fmt: skip


def _object(d: dict[str, Any]) -> ArchivedObject:
    blocks = (
        Block(b["offset"], b["append_time_ms"], tuple((h["key"], h["value"]) for h in b["headers"]))
        for b in d["blocks"]
    )
    return ArchivedObject(
        d["key"], d["bytes"], d["crc32c"], d["tenant"], d["event_hour"], d["schema_id"],
        d["time_min_ns"], d["time_max_ns"], tuple(blocks),
    )  # fmt: skip


@functools.cache
def _schema_text() -> str:
    return Path(__file__).with_name("manifest_entry.avsc").read_text("utf-8")


@functools.cache
def _schema() -> Any:
    return fastavro.schema.load_schema(str(Path(__file__).with_name("manifest_entry.avsc")))
