"""Request bodies within limits: so many bytes in one, so many in all, before anything is parsed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from collectors.errors import BusyError, RequestError

BODY_BYTES_MAX = 16 * 1024 * 1024
IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
READ_TIMEOUT_S = 30.0


class Lease:
    """Bytes that one request holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def grow(self, size_bytes: int) -> None:
        """Hold more; raises BusyError(429) when all requests together would hold too much."""
        if self._budget.held + size_bytes > self._budget.bytes_max:
            raise BusyError(429, f"requests in flight hold {self._budget.held} bytes: send again in a second")
        self._budget.held += size_bytes
        self.held += size_bytes


class Budget:
    """Bytes of all requests in flight. Used within one event loop."""

    def __init__(self, bytes_max: int = IN_FLIGHT_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.held = 0

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Held until the answer is known."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            self.held -= lease.held


async def read(chunks: AsyncIterator[bytes], lease: Lease, timeout_s: float = READ_TIMEOUT_S) -> bytes:
    """The body as sent. Raises RequestError(413) beyond 16 MiB, RequestError(408) when it takes too long, BusyError(429)."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in chunks:
                size += len(chunk)
                if size > BODY_BYTES_MAX:
                    raise RequestError(413, f"the body is larger than {BODY_BYTES_MAX} bytes: send smaller batches")
                lease.grow(len(chunk))
                parts.append(chunk)
    except TimeoutError as error:
        raise RequestError(408, f"the body did not arrive within {timeout_s:g} s") from error
    return b"".join(parts)


def gunzip(data: bytes, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Decompress; raises RequestError(413) as soon as it is more than `bytes_max`, RequestError(400) when it is not gzip."""
    parts: list[bytes] = []
    size = 0
    try:
        while data:
            member = zlib.decompressobj(wbits=31)
            part = member.decompress(data, bytes_max - size + 1)
            size += len(part)
            if size > bytes_max:
                raise RequestError(
                    413, f"the body is larger than {bytes_max} bytes once decompressed: send smaller batches"
                )
            if not member.eof:
                raise RequestError(400, "the gzip body is cut short")
            parts.append(part)
            data = member.unused_data
    except zlib.error as error:
        raise RequestError(400, f"the body is not gzip: {error}") from error
    return b"".join(parts)
