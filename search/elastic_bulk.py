"""Bulk requests: bodies within their limit, and what to do about an item by what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from search.elastic_client import Answer, Client
from search.elastic_document import create_action
from search.elastic_errors import NoAnswerError, reason_of
from search.elastic_items import Chunk, Item, Outcome, all_created, outcome_of
from search.elastic_names import in_path
from search.elastic_older import remove, stored_hashes
from search.elastic_templates import backing_indices
from search.port import DocumentFault, SearchUnavailableError

_FILTER: Final = "errors,items.create.status,items.create.error"
_INDEX: Final = "items.create._index"
_log = structlog.stdlib.get_logger("search")


@dataclass(slots=True)
class Tally:
    """What became of the documents of one write."""

    created: int = 0
    duplicates: int = 0
    clashes: int = 0
    faults: list[DocumentFault] = field(default_factory=list)


def clashing(item: Item) -> Item:
    """The same document under an id that tells its content too: another one has its id."""
    id_ = f"{item.id}-{item.item_hash:08x}"
    _log.error("identity_clash", id=item.id, stored_as=id_)
    line = item.data[len(create_action(item.id)) :]
    return replace(item, id=id_, data=create_action(id_) + line, maybe=True)


class BulkWriter:
    """Creates documents in one data stream, each once; one for each bulk."""

    def __init__(self, client: Client, target: str, attempts_max: int, back_off: Callable[[int], None]) -> None:
        """`back_off(attempt)` waits before attempt 1, 2, …"""
        self._client = client
        self._target = target
        self._path = f"/{in_path(target)}/_bulk?require_data_stream=true&filter_path={_FILTER}"
        self._attempts_max = attempts_max
        self._back_off = back_off
        self.tally = Tally()

    def write(self, chunk: Chunk) -> None:
        """One bulk request and its repetitions. Raises SearchUnavailableError."""
        if chunk.maybe:
            self._write_items(chunk.items())
            return
        try:
            answer = self._post(self._path, chunk.data)
            if answer is not None and all_created(answer.data, len(chunk.data)):
                self.tally.created += len(chunk.data)
                return
            items = chunk.items()
            outcome = None if answer is None else outcome_of(answer.body, items)
        except NoAnswerError as error:
            self._write_items(_ambiguous(chunk.items()), 1, str(error))
            return
        if outcome is None:
            self._write_halves(items)
        elif left := self._settle(outcome):
            self._write_items(left, 1, outcome.reason)

    def _write_items(self, items: Sequence[Item], attempts_done: int = 0, reason: str = "") -> None:
        left = list(items)
        for attempt in range(attempts_done, self._attempts_max):
            if attempt:
                self._back_off(attempt)
            left = self._not_in_older(left)
            if not left:
                return
            try:
                answer = self._post(f"{self._path},{_INDEX}", [item.data for item in left])
                outcome = None if answer is None else outcome_of(answer.body, left)
            except NoAnswerError as error:
                left, reason = _ambiguous(left), str(error)
                continue
            if outcome is None:
                self._write_halves(left)
                return
            left, reason = self._settle(outcome), outcome.reason
            if not left:
                return
        raise SearchUnavailableError(
            f"Elasticsearch did not take {len(left)} documents in {self._attempts_max} attempts: {reason}"
        )

    def _post(self, path: str, data: Sequence[bytes]) -> Answer | None:
        """None: the request is too large for the server."""
        answer = self._client.post_lines(path, b"".join(data))
        if answer.status == 413:
            return None
        if answer.status == 429 or answer.status >= 500:
            raise NoAnswerError(f"it answers {answer.status}: {reason_of(answer.body) or 'no reason given'}")
        if answer.status != 200:
            raise SearchUnavailableError(
                f"Elasticsearch refuses a bulk request ({answer.status}): {reason_of(answer.body)}"
            )
        return answer

    def _write_halves(self, items: Sequence[Item]) -> None:
        if len(items) == 1:
            size = len(items[0].data)
            self._fault(items[0], "oversize", f"{size} bytes are more than Elasticsearch takes in one request")
            return
        middle = len(items) // 2
        self._write_items(items[:middle])
        self._write_items(items[middle:])

    def _settle(self, outcome: Outcome) -> list[Item]:
        """Count what is done; returns what is to be sent again."""
        self.tally.created += len(outcome.created)
        self._remove_second_copies(outcome.created)
        for item, words in outcome.refused:
            self._fault(item, "mapping", words)
        again, clashes = self._compare(outcome.held)
        if clashes:
            # Attempts of their own: nothing has been tried under these ids.
            self._write_items(clashes)
        return _ambiguous(outcome.again + again)

    def _compare(self, held: Sequence[tuple[Item, str]]) -> tuple[list[Item], list[Item]]:
        """Duplicates are counted; returns what is to be tried again, and what differs from that which has its id, under another one."""
        again: list[Item] = []
        clashes: list[Item] = []
        for index in {index for _, index in held}:
            of_index = [item for item, where in held if where == index]
            stored = self._stored([item.id for item in of_index], [index])
            for item in of_index:
                hash_ = stored.get(item.id, {}).get(index)
                if hash_ is None:
                    # It was removed since, as a second copy: it is in another index.
                    again.append(item)
                else:
                    clashes += self._duplicate_or_clash(item, hash_)
        return again, clashes

    def _stored(self, ids: Sequence[str], indices: Sequence[str]) -> dict[str, dict[str, int]]:
        """See stored_hashes; patient, because an index that was just made is not yet ready to be asked."""
        for attempt in range(1, self._attempts_max):
            with suppress(NoAnswerError):
                return stored_hashes(self._client, ids, indices)
            self._back_off(attempt)
        return stored_hashes(self._client, ids, indices)

    def _duplicate_or_clash(self, item: Item, stored: int) -> list[Item]:
        if stored == item.item_hash:
            self.tally.duplicates += 1
            return []
        self.tally.clashes += 1
        return [clashing(item)]

    def _not_in_older(self, items: list[Item]) -> list[Item]:
        """Without those that an earlier try stored before the data stream was rolled over."""
        maybe = [item for item in items if item.maybe]
        if not maybe:
            return items
        older = backing_indices(self._client, self._target)[:-1]
        if not older:
            return items
        stored = self._stored([item.id for item in maybe], older)
        left: list[Item] = []
        clashes: list[Item] = []
        for item in items:
            hashes = stored.get(item.id) if item.maybe else None
            if not hashes:
                left.append(item)
            elif item.item_hash in hashes.values():
                self.tally.duplicates += 1
            else:
                clashes += self._duplicate_or_clash(item, next(iter(hashes.values())))
        return left + (self._not_in_older(clashes) if clashes else [])

    def _remove_second_copies(self, created: Sequence[tuple[Item, str]]) -> None:
        """An earlier try may have been carried out while, or after, its ids were looked up."""
        maybe = [(item, index) for item, index in created if item.maybe]
        if not maybe:
            return
        indices = backing_indices(self._client, self._target)
        copies: list[tuple[str, str]] = []
        for index in {index for _, index in maybe}:
            of_index = [item for item, where in maybe if where == index]
            others = [other for other in indices if other != index]
            if not others or index not in indices:
                # There is no other, or this one has just been removed with all it held.
                continue
            stored = self._stored([item.id for item in of_index], others)
            for item in of_index:
                places = [i for i, hash_ in stored.get(item.id, {}).items() if hash_ == item.item_hash]
                copies += [(place, item.id) for place in sorted([*places, index], key=indices.index)[1:]]
                self.tally.created -= bool(places)
                self.tally.duplicates += bool(places)
        if copies:
            _log.warning("second_copies_removed", data_stream=self._target, count=len(copies))
            remove(self._client, copies)

    def _fault(self, item: Item, reason: str, detail: str) -> None:
        self.tally.faults.append(DocumentFault(item.position, reason, detail))


def _ambiguous(items: Sequence[Item]) -> list[Item]:
    """The same, of which it is no longer known that nothing was tried."""
    for item in items:
        item.maybe = True
    return list(items)
