"""Chunks: what goes in comes out, what is damaged does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.sqlite_chunk import CHUNK_BYTES_TARGET, DamagedChunkError, decode, encode, split
from heliograph.message import Message

_HEADERS = st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=20)), max_size=4).map(tuple)
_MESSAGES = st.lists(
    st.builds(Message, st.just("t"), st.just(3), _HEADERS, st.binary(max_size=200)), min_size=1, max_size=9
)


@given(_MESSAGES)
def test_messages_come_out_as_they_went_in(messages: list[Message]) -> None:
    records = decode(encode(messages), "t", 3, 100, 5)
    assert [(r.headers, r.body) for r in records] == [(m.headers, m.body) for m in messages]
    assert [r.offset for r in records] == list(range(100, 100 + len(messages)))
    assert {(r.topic, r.partition, r.append_time_ms) for r in records} == {("t", 3, 5)}


@given(_MESSAGES, st.data())
def test_a_flipped_bit_is_noticed(messages: list[Message], data: st.DataObject) -> None:
    chunk = encode(messages)
    at = data.draw(st.integers(0, len(chunk.payload) * 8 - 1))
    payload = bytearray(chunk.payload)
    payload[at // 8] ^= 1 << at % 8
    with pytest.raises(DamagedChunkError):
        decode(replace(chunk, payload=bytes(payload)), "t", 3, 0, 0)


@pytest.mark.parametrize("change", [{"count": 2}, {"raw_bytes": 5}])
def test_numbers_that_do_not_fit_are_noticed(change: dict[str, int]) -> None:
    with pytest.raises(DamagedChunkError):
        decode(replace(encode([Message("t", 0, (), b"x" * 99)]), **change), "t", 0, 0, 0)  # type: ignore[arg-type]


def test_runs_keep_to_the_target_and_lose_nothing() -> None:
    sizes = [10, CHUNK_BYTES_TARGET, 5, CHUNK_BYTES_TARGET - 5, 1, CHUNK_BYTES_TARGET + 1, 7]
    messages = [Message("t", 0, (), bytes(size)) for size in sizes]
    runs = list(split(messages))
    assert [m for run in runs for m in run] == messages
    assert all(len(run) == 1 or sum(m.size_bytes for m in run) <= CHUNK_BYTES_TARGET for run in runs)
    assert len(runs) == 6
    assert list(split([])) == []


def test_messages_that_repeat_each_other_are_stored_once() -> None:
    tail = bytes(range(256)) * 90
    chunk = encode([Message("t", 0, (), i.to_bytes(8, "big") + tail) for i in range(20)])
    assert len(chunk.payload) < chunk.raw_bytes / 20
