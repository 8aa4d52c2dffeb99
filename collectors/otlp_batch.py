"""What an OTLP request is converted to: items by source, and what had to be refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from heliograph.errors import ContractError
from heliograph.identity import BatchId, Mint
from heliograph.message import Message
from heliograph.records import Source, string_map

T = TypeVar("T")

RESOURCE_BYTES_MAX = 60 * 1024
_NOBODY = BatchId(bytes(16), 0)


@dataclass(slots=True)
class Refused:
    """Items that can never be taken, and the first reason; fills a partial success."""

    count: int = 0
    reason: str = ""

    def add(self, reason: str, count: int = 1) -> None:
        """Count items; the first reason is the one that is told."""
        self.count += count
        self.reason = self.reason or reason


@dataclass(frozen=True, slots=True)
class Converted(Generic[T]):
    """Items of one request by source."""

    groups: list[tuple[Source, list[T]]]
    refused: Refused = field(default_factory=Refused)


def seal_groups(
    converted: Converted[T], seal: Callable[[Sequence[T], Source, Mint], list[Message]], mint: Mint
) -> list[Message]:
    """Batches of all groups. What no batch can hold is refused alone, before an identity is minted for it."""
    messages: list[Message] = []
    for source, items in converted.groups:
        scope_bytes = 4 * (len(source.scope_name) + len(source.scope_version))
        if len(string_map(source.resource)) + scope_bytes > RESOURCE_BYTES_MAX:
            converted.refused.add(f"a resource and scope larger than {RESOURCE_BYTES_MAX} bytes", len(items))
            continue
        try:
            messages += seal(items, source, mint)
        except ContractError:
            good = [item for item in items if _fits(item, source, seal, converted.refused)]
            messages += seal(good, source, mint) if good else []
    return messages


def _fits(
    item: T, source: Source, seal: Callable[[Sequence[T], Source, Mint], list[Message]], refused: Refused
) -> bool:
    try:
        seal([item], source, lambda: _NOBODY)
    except ContractError as error:
        refused.add(error.detail)
        return False
    return True
