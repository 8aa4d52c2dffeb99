from __future__ import annotations

import pytest

from archive.memory import MemoryObjects
from archive.port import ObjectStore
from tests.contracts.object_store_suite import ObjectStoreSuite


class TestMemoryObjects(ObjectStoreSuite):
    @pytest.fixture
    def objects(self) -> ObjectStore:
        return MemoryObjects()
