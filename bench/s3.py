"""Megabytes of bodies: cuts of the bus through the archive's sink into S3, on the server that the tests use."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import cramjam

from archive.s3 import S3Objects
from archive.s3_settings import S3Settings
from heliograph import contracts
from heliograph.framing import FRAME_BYTES
from heliograph.message import Message
from sinks.decode import WriterSchemas
from sinks.objects import ObjectSink
from sinks.port import Cut
from tests.servers.s3 import S3Server, start_s3

from .line import Line, Spent
from .load import log_messages
from .stack import Stack

COUNT = 600_000
ROUNDS = 6


def run(folder: Path) -> list[Line]:
    """The ceiling is zstd over the same bodies and one upload per cut, by the same client; the best round of each."""
    messages = log_messages(2, COUNT)
    size = sum(len(m.body) for m in messages)
    server = start_s3()
    try:
        stack = Stack(folder / "s3")
        stack.produce(messages)
        cuts = list(stack.cuts("bench", (contracts.LOGS_TOPIC,), ObjectSink.limits.bytes_max))
        # In turns, so that both meet the same machine.
        rounds = [(_archive(cuts, stack.schemas, server), _upload(messages, server)) for _ in range(ROUNDS)]
    finally:
        server.server.kill()
    return [
        Line(name, size / min(a) / 1e6, unit, size / min(b) / 1e6, "zstd + upload alone")
        for name, unit, a, b in (
            ("archive to S3", "MB/core-s", [a.cpu_s for a, _ in rounds], [b.cpu_s for _, b in rounds]),
            ("archive to S3", "MB/s", [a.wall_s for a, _ in rounds], [b.wall_s for _, b in rounds]),
        )
    ]


def _archive(cuts: Sequence[Cut], schemas: WriterSchemas, server: S3Server) -> Spent:
    sink = ObjectSink(_bucket(server), schemas, "bench")
    with Spent() as spent:
        for cut in cuts:
            sink.write(cut)
    return spent


def _upload(messages: Sequence[Message], server: S3Server) -> Spent:
    objects = _bucket(server)
    with Spent() as spent:
        blocks: list[bytes] = []
        size = 0
        for i, message in enumerate(messages):
            blocks.append(bytes(cramjam.zstd.compress(memoryview(message.body)[FRAME_BYTES:], level=3)))
            size += message.size_bytes
            if size >= ObjectSink.limits.bytes_max or i == len(messages) - 1:
                objects.put(f"alone/{i}", b"".join(blocks))
                blocks, size = [], 0
    return spent


def _bucket(server: S3Server) -> S3Objects:
    """Empty, and connected: a client's first call costs more than its others."""
    name = server.make_bucket(f"bench-{uuid.uuid4().hex[:12]}")
    settings = S3Settings(
        name, server.url, access_key_id=server.access_key, secret_access_key=server.secret_key, path_style=True
    )
    objects = S3Objects(settings)
    objects.check()
    return objects
