"""Into how many slots the L0 rows of a (tenant, window) are spread: a slot is a partition, and its rows go to the server together.

Few slots make few mutations, many keep partitions small. The writer chooses by what it writes, and notes it before for readers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from .cassandra_cells import slot_of
from .cassandra_known import Known
from .cassandra_session import CassandraSession
from .port import L0Row

_PUT: Final = "INSERT INTO spreads (space, tenant, day, slots) VALUES (?, ?, ?, ?)"
_OF_DAY: Final = "SELECT slots FROM spreads WHERE space = ? AND tenant = ? AND day = ?"
_ROWS_PER_SLOT: Final = 32
"""Of one flush: about how many buckets share a partition. With 4,000 series each, every 15 s, that is 40 MB or less."""
_BYTES_PER_SLOT: Final = 1024 * 1024
"""Of one flush: samples that come more often than that fill a partition with fewer buckets."""
_STEP: Final = 4
"""Powers of it only: a day has one or two spreads, and buckets of neighbouring ones often share a slot."""
_SLOTS_MAX: Final = 4096


class Spreads:
    """The spreads of one space."""

    def __init__(self, session: CassandraSession, space: str, known: Known) -> None:
        self._session = session
        self._space = space
        self._known = known

    def put(self, day: int, rows: Iterable[L0Row]) -> Mapping[tuple[str, int], int]:
        """How many slots each (tenant, window) of a flush gets; noted, where it is not known to be, on return."""
        blocks: dict[tuple[str, int], list[int]] = {}
        for row in rows:
            blocks.setdefault((row.tenant, row.window), []).append(len(row.block))
        chosen = {key: slots_for(len(sizes), sum(sizes)) for key, sizes in blocks.items()}
        spreads = {(tenant, day, slots) for (tenant, _), slots in chosen.items()}
        new = sorted(spread for spread in spreads if self._known.spreads.get(spread) is None)
        self._session.write(_PUT, (((self._space, *spread), 100) for spread in new), "noting the spread of rows")
        for spread in new:
            self._known.add_spread(*spread)
        return chosen

    def slots_of(self, tenant: str, day: int, buckets: Collection[str]) -> dict[str, list[int]]:
        """Every slot that may hold rows of a bucket, by bucket, both sorted."""
        found = self._session.read_one(_OF_DAY, (self._space, tenant, day), "reading the spread of rows")
        return {bucket: sorted({slot_of(bucket, slots) for (slots,) in found}) for bucket in sorted(buckets)}


def slots_for(rows: int, bytes_: int) -> int:
    """What a flush of so many rows, and bytes of blocks, to one (tenant, window) is spread into."""
    slots = 1
    while slots < _SLOTS_MAX and (rows > slots * _ROWS_PER_SLOT or bytes_ > slots * _BYTES_PER_SLOT):
        slots *= _STEP
    return slots
