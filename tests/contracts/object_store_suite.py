"""What every object store must do. An adapter's test module subclasses it and gives the fixture `objects`."""

from __future__ import annotations

import threading

import pytest

from archive.port import NoSuchObjectError, ObjectExistsError, ObjectInfo, ObjectStore


class ObjectStoreSuite:
    """The suite; the fixture `objects` is an empty store."""

    def test_an_object_reads_back_byte_for_byte(self, objects: ObjectStore) -> None:
        data = bytes(range(256)) * 5000
        objects.put("a/b/c.avro", data)
        objects.put("empty", b"")
        assert objects.get("a/b/c.avro") == data
        assert objects.get("empty") == b""

    def test_put_replaces(self, objects: ObjectStore) -> None:
        objects.put("key", b"old, and longer")
        objects.put("key", b"new")
        assert objects.get("key") == b"new"
        assert list(objects.list("")) == [ObjectInfo("key", 3)]

    def test_put_if_absent_leaves_what_is_there(self, objects: ObjectStore) -> None:
        objects.put_if_absent("a/key", b"first")
        with pytest.raises(ObjectExistsError):
            objects.put_if_absent("a/key", b"second")
        assert objects.get("a/key") == b"first"

    def test_of_many_put_if_absent_at_once_exactly_one_succeeds(self, objects: ObjectStore) -> None:
        won: list[int] = []
        barrier = threading.Barrier(8)

        def contend(i: int) -> None:
            barrier.wait()
            for round_ in range(20):
                try:
                    objects.put_if_absent(f"race/{round_:03d}", b"%d" % i)
                except ObjectExistsError:
                    continue
                won.append(round_)

        threads = [threading.Thread(target=contend, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(20))

    def test_what_is_not_there_raises(self, objects: ObjectStore) -> None:
        objects.put("folder/object", b"x")
        for key in ("nothing", "folder", "folder/object/below", "folder/other"):
            with pytest.raises(NoSuchObjectError):
                objects.get(key)

    def test_a_listing_is_in_byte_order_of_whole_keys(self, objects: ObjectStore) -> None:
        keys = ["a-b/c", "a/b-c", "a/b/c", "a/b0", "a0", "b/1", "b/10", "b/2", "Z/z", "_m/x", "%2E/x"]
        for key in keys:
            objects.put(key, key.encode())
        assert [info.key for info in objects.list("")] == sorted(keys, key=str.encode)
        assert [info.size_bytes for info in objects.list("")] == [len(k) for k in sorted(keys)]

    def test_a_listing_begins_with_the_prefix_and_after_the_key(self, objects: ObjectStore) -> None:
        keys = ["p/a/1", "p/a/2", "p/a/3", "p/ab/1", "p/b", "q/1"]
        for key in keys:
            objects.put(key, b"x")

        def listed(prefix: str, after: str = "") -> list[str]:
            return [info.key for info in objects.list(prefix, after)]

        assert listed("p/a") == ["p/a/1", "p/a/2", "p/a/3", "p/ab/1"]
        assert listed("p/a/") == ["p/a/1", "p/a/2", "p/a/3"]
        assert listed("p/a/2") == ["p/a/2"]
        assert listed("p/", "p/a/2") == ["p/a/3", "p/ab/1", "p/b"]
        assert listed("p/a/", "p/a/3") == []
        assert listed("", "p/a/zzz") == ["p/ab/1", "p/b", "q/1"]
        assert listed("", "p/") == keys
        assert listed("nothing") == []

    def test_delete_removes_and_minds_nothing(self, objects: ObjectStore) -> None:
        objects.put("a/b", b"x")
        objects.delete("a/b")
        objects.delete("a/b")
        objects.delete("never/there")
        assert list(objects.list("")) == []
        objects.put_if_absent("a/b", b"again")
        assert objects.get("a/b") == b"again"
