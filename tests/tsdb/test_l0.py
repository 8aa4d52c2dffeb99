"""L0 blocks: columns come back bit for bit, and damage is always noticed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.errors import CorruptBlockError
from tsdb.l0 import L0Block, Ragged, decode_l0, encode_l0, set_hash_of

from .metric_log import NOW_MS, STALE

SET = bytes(range(16))


def block(rng: random.Random, sizes: list[int], counts: list[int], ragged: int = 0) -> L0Block:
    total = sum(s * c for s, c in zip(sizes, counts, strict=True))
    kinds = (
        lambda: float(rng.randrange(10**6)),
        lambda: rng.randrange(10**6) / 1000,
        lambda: rng.random(),
        lambda: STALE,
    )
    per = max(1, total // 3)
    values = [kinds[min(i // per, 2) if rng.random() < 0.98 else 3]() for i in range(total)]
    stamps = [NOW_MS + rng.randrange(50_000) for _ in range(sum(counts))]
    loose = None
    if ragged:
        loose = Ragged(
            np.array([rng.randrange(sum(sizes)) for _ in range(ragged)], np.int64),
            np.array([NOW_MS + rng.randrange(10**7) for _ in range(ragged)], np.int64),
            np.array([rng.choice([rng.random(), float("nan")]) for _ in range(ragged)]),
        )
    return L0Block(SET, np.array(counts, np.int64), np.array(stamps, np.int64), np.array(values, np.float64), loose)


def bounds(sizes: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([0, *np.cumsum(sizes)], np.int64)


def same(a: L0Block, b: L0Block) -> bool:
    def columns(x: L0Block) -> list[bytes]:
        loose = (
            []
            if x.ragged is None
            else [x.ragged.ordinals.tobytes(), x.ragged.stamps.tobytes(), x.ragged.values.tobytes()]
        )
        return [x.set_hash, x.counts.tobytes(), x.stamps.tobytes(), x.values.tobytes(), *loose]

    return columns(a) == columns(b)


@settings(max_examples=80, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=6),
    st.integers(0, 5),
)
def test_a_block_comes_back_bit_for_bit(rng: random.Random, groups: list[tuple[int, int]], ragged: int) -> None:
    sizes = [1, *(size for size, _ in groups)]
    counts = [1, *(count for _, count in groups)]
    whole = block(rng, sizes, counts, ragged)
    data = encode_l0(whole, bounds(sizes))
    assert set_hash_of(data) == SET
    assert same(decode_l0(data, bounds(sizes)), whole)


@pytest.mark.parametrize("sizes", [[4000], [700, 900, 1500]])
def test_kinds_apart_come_back_and_take_less(sizes: list[int]) -> None:
    whole = block(random.Random(1), sizes, [1] * len(sizes))
    data = encode_l0(whole, bounds(sizes))
    assert same(decode_l0(data, bounds(sizes)), whole)
    assert len(data) < 5 * len(whole.values)


def test_stamps_far_apart_come_back() -> None:
    whole = L0Block(SET, np.array([2, 1]), np.array([-(10**12), 10**15, 0]), np.array([1.0, 2.0, 3.0]))
    assert same(decode_l0(encode_l0(whole, bounds([1, 1])), bounds([1, 1])), whole)


def test_every_flipped_byte_is_noticed() -> None:
    sizes = [60, 30]
    data = encode_l0(block(random.Random(2), sizes, [2, 1], ragged=3), bounds(sizes))
    rng = random.Random(3)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= rng.randrange(1, 256)
        with pytest.raises(CorruptBlockError):
            decode_l0(bytes(damaged), bounds(sizes))


def test_every_cut_is_noticed() -> None:
    data = encode_l0(block(random.Random(4), [50], [1]), bounds([50]))
    for size in range(len(data)):
        with pytest.raises(CorruptBlockError):
            decode_l0(data[:size], bounds([50]))


def test_damage_with_a_right_checksum_is_an_error_or_harmless_but_never_a_crash() -> None:
    import struct
    import zlib

    data = encode_l0(block(random.Random(5), [400, 900], [1, 1], ragged=4), bounds([400, 900]))
    rng = random.Random(6)
    for _ in range(500):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        crc = zlib.crc32(damaged[84:], zlib.crc32(damaged[:80]))
        damaged[80:84] = struct.pack("<I", crc)
        try:
            found = decode_l0(bytes(damaged), bounds([400, 900]))
        except CorruptBlockError:
            continue
        assert len(found.values) == int((found.counts * np.array([400, 900])).sum())


def test_a_block_of_another_set_is_refused() -> None:
    data = encode_l0(block(random.Random(7), [5, 5], [1, 1]), bounds([5, 5]))
    with pytest.raises(CorruptBlockError):
        decode_l0(data, bounds([5, 6]))
