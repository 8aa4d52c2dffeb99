"""An order-free checksum of samples: the sum modulo 2^64 of one hash per (series, timestamp, value)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .layout import Ids
from .samples import Floats, Longs

Hashes = npt.NDArray[np.uint64]

_STAMP: Final = np.uint64(0x9E3779B97F4A7C15)
_VALUE: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
_HALF: Final = np.uint64(32)


def series_seeds(ids: Ids) -> Hashes:
    """What each series gives to its samples' hashes: the first 8 bytes of its id."""
    return np.ascontiguousarray(ids[:, :8]).view("<u8").ravel().astype(np.uint64)


def sample_hashes(seeds: Hashes, stamps: Longs, values: Floats) -> Hashes:
    """One hash per sample; the value counts by its bits."""
    mixed = stamps.astype(np.uint64)
    mixed *= _STAMP
    mixed += seeds
    mixed ^= np.ascontiguousarray(values, np.float64).view(np.uint64) * _VALUE
    mixed ^= mixed >> _HALF
    mixed *= _MIX
    mixed ^= mixed >> _HALF
    return mixed


def hash_sum(hashes: Hashes) -> int:
    """Their sum modulo 2^64."""
    return int(hashes.sum(dtype=np.uint64))
