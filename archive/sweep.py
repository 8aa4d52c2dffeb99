"""Removing objects that no manifest entry names, and that none ever can."""

from __future__ import annotations

import re
from typing import Final

from archive import manifest
from archive.manifest import Chain
from archive.port import ObjectStore

_OBJECT: Final = re.compile(r".*/(?P<log_id>[^/]+)/(?P<partition>\d{5})/(?P<first>\d{20})-\d{20}-[^/]+\.avro\Z")


def sweep(objects: ObjectStore, tenant_folder: str, topic: str) -> int:
    """Delete a tenant's orphans of a topic; how many.

    An object of the range [first, …) can only be named by an entry at `first`. Once the chain's end is past `first`, what stands
    there is decided for ever, so an object that is not named then is rubbish, whoever is still running. Others are kept.
    """
    ends: dict[Chain, int] = {}
    named: set[str] = set()
    for entry in manifest.entries(objects, f"{manifest.ROOT}{topic}/"):
        ends[entry.chain] = max(entry.next, ends.get(entry.chain, 0))
        named.update(o.key for o in entry.objects)
    removed = 0
    for info in list(objects.list(f"{tenant_folder}/{topic}/")):
        found = _OBJECT.match(info.key)
        if found is None or info.key in named:
            continue
        chain = Chain(topic, found["log_id"], int(found["partition"]))
        if int(found["first"]) < ends.get(chain, 0):
            objects.delete(info.key)
            removed += 1
    return removed
