from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from collectors.errors import BusyError, RequestError
from collectors.http_body import Budget, gunzip, read


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


def test_what_a_request_holds_is_given_back() -> None:
    budget = Budget(bytes_max=10)
    with budget.lease() as lease:
        assert asyncio.run(read(chunks(b"abc", b"def"), lease)) == b"abcdef"
        assert budget.held == 6
        with budget.lease() as other, pytest.raises(BusyError) as caught:
            asyncio.run(read(chunks(b"ghijkl"), other))
        assert caught.value.status == 429
    assert budget.held == 0


def test_a_body_that_does_not_come_is_given_up() -> None:
    with Budget().lease() as lease, pytest.raises(RequestError) as caught:
        asyncio.run(read(never(), lease, timeout_s=0.01))
    assert caught.value.status == 408


def test_gzip_of_several_members_is_one_body() -> None:
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b")) == b"ab"


def test_the_bound_on_the_decompressed_size_is_exact_over_all_members() -> None:
    assert gunzip(gzip.compress(b"x" * 100), 100) == b"x" * 100
    with pytest.raises(RequestError) as caught:
        gunzip(gzip.compress(b"x" * 60) + gzip.compress(b"x" * 41), 100)
    assert caught.value.status == 413
