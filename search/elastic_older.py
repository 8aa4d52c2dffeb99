"""Ids in the backing indices of a data stream. An id is unique within one of them only: after a rollover the same document can be
created again, so whoever may have written it before must look for it in the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from search.elastic_client import Client
from search.elastic_document import OURS
from search.elastic_errors import NoAnswerError
from search.elastic_names import in_path
from search.port import SearchUnavailableError

LOOKUPS_MAX: Final = 5_000
"""Of one request."""


def stored_hashes(client: Client, ids: Sequence[str], indices: Sequence[str]) -> dict[str, dict[str, int]]:
    """For each id that is there: by index, the hash it is stored with. Sees what is written but not yet visible to searches.
    Raises NoAnswerError when it may be told a little later.
    """
    found: dict[str, dict[str, int]] = {}
    wanted = [{"_index": index, "_id": id_} for index in indices for id_ in ids]
    for start in range(0, len(wanted), LOOKUPS_MAX):
        for doc in _looked_up(client, wanted[start : start + LOOKUPS_MAX]):
            if doc.get("found"):
                found.setdefault(doc["_id"], {})[doc["_index"]] = _hash_of(doc)
            elif "error" in doc and doc["error"].get("type") != "index_not_found_exception":
                # An index that was just made may have no shard yet.
                raise NoAnswerError(f"Elasticsearch cannot look up ids: {str(doc['error'].get('reason'))[:300]}")
    return found


def remove(client: Client, copies: Sequence[tuple[str, str]]) -> None:
    """Remove documents, each by (index, id). One that is gone is no fault."""
    for start in range(0, len(copies), LOOKUPS_MAX):
        part = copies[start : start + LOOKUPS_MAX]
        lines = b"".join(_deletions(part))
        answer = client.post_lines("/_bulk", lines)
        items = answer.body.get("items", ()) if answer.status == 200 and isinstance(answer.body, dict) else ()
        if len(items) != len(part) or any(i.get("delete", {}).get("status") not in (200, 404) for i in items):
            raise SearchUnavailableError(
                "Elasticsearch did not remove the second copies of documents that a rollover let in."
            )


def _looked_up(client: Client, wanted: Sequence[dict[str, str]]) -> Sequence[Any]:
    path = f"/_mget?realtime=true&_source_includes={in_path(f'{OURS}.item_hash')}"
    docs: Sequence[Any] = client.ask("POST", path, {"docs": wanted}).body["docs"]
    return docs


def _hash_of(doc: Any) -> int:
    # A document that somebody else put there has no hash of ours, and is no duplicate.
    return int(doc.get("_source", {}).get(OURS, {}).get("item_hash", -1))


def _deletions(copies: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    for index, id_ in copies:
        yield orjson.dumps({"delete": {"_index": index, "_id": id_}})
        yield b"\n"
