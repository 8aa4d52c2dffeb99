"""The S3 adapter on a real server."""

from __future__ import annotations

import os
import uuid

import pytest

from archive.port import CorruptArchiveError, NoSuchObjectError, ObjectExistsError, ObjectStore
from archive.s3 import S3Objects
from archive.s3_settings import S3Settings
from tests.contracts.object_store_suite import ObjectStoreSuite
from tests.servers.s3 import S3Server, s3

# Building the server takes minutes, once: that is the fixtures' time, not the tests'.
pytestmark = pytest.mark.timeout(120, func_only=True)

PART_BYTES = 5 * 1024 * 1024


def new_bucket(server: S3Server) -> str:
    return server.make_bucket(f"t-{uuid.uuid4().hex[:20]}")


def settings(server: S3Server, bucket: str, **changes: object) -> S3Settings:
    given: dict[str, object] = {
        "endpoint_url": server.url, "access_key_id": server.access_key, "secret_access_key": server.secret_key,
        "path_style": True, "multipart_bytes": PART_BYTES,
    }  # fmt: skip
    return S3Settings(bucket, **given | changes)  # type: ignore[arg-type]


@pytest.fixture
def bucket() -> str:
    return new_bucket(s3())


@pytest.fixture
def objects(bucket: str) -> S3Objects:
    return S3Objects(settings(s3(), bucket, page_keys=3))


class TestS3Objects(ObjectStoreSuite):
    @pytest.fixture
    def objects(self, bucket: str) -> ObjectStore:
        return S3Objects(settings(s3(), bucket, page_keys=3))


class TestS3ObjectsBelowAPrefix(ObjectStoreSuite):
    @pytest.fixture
    def objects(self, bucket: str) -> ObjectStore:
        other = S3Objects(settings(s3(), bucket))
        other.put("a/before", b"not ours")
        other.put("p-other/x", b"not ours")
        return S3Objects(settings(s3(), bucket, prefix="p"))


def test_the_check_passes_and_leaves_nothing(objects: S3Objects, bucket: str) -> None:
    objects.check()
    assert list(objects.list("")) == []
    assert "Uploads" not in s3().client().list_multipart_uploads(Bucket=bucket)


def test_a_large_object_goes_in_parts_and_reads_back(objects: S3Objects, bucket: str) -> None:
    data = os.urandom(2 * PART_BYTES + 77)
    objects.put_if_absent("a/large", data)
    assert objects.get("a/large") == data
    assert [info.size_bytes for info in objects.list("a/")] == [len(data)]
    with pytest.raises(ObjectExistsError):
        objects.put_if_absent("a/large", b"x" * (PART_BYTES + 1))
    assert objects.get("a/large") == data
    objects.put("a/large", b"y" * (PART_BYTES + 1))
    assert objects.get("a/large") == b"y" * (PART_BYTES + 1)
    assert "Uploads" not in s3().client().list_multipart_uploads(Bucket=bucket)


def test_what_the_server_keeps_has_its_crc(objects: S3Objects, bucket: str) -> None:
    objects.put("small", b"123456789")
    objects.put("large", b"0" * (PART_BYTES + 1))
    head = s3().client().head_object(Bucket=bucket, Key="small", ChecksumMode="ENABLED")
    # The check value of CRC-32C.
    assert (head["ChecksumCRC32C"], head["Metadata"]["crc32c"]) == ("4waSgw==", "4waSgw==")
    head = s3().client().head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    assert (head["ChecksumType"], head["ChecksumCRC32C"]) == ("FULL_OBJECT", head["Metadata"]["crc32c"])


@pytest.mark.parametrize("size", [1000, PART_BYTES + 1000])
def test_a_byte_that_changed_on_the_servers_disk_is_found(objects: S3Objects, bucket: str, size: int) -> None:
    objects.put("a/b", b"x" * size)
    with (s3().data / bucket / "a" / "b").open("r+b") as file:
        file.seek(size // 2)
        file.write(b"y")
    with pytest.raises(CorruptArchiveError, match="a/b: it is not what its checksum says"):
        objects.get("a/b")


def test_an_object_that_others_put_there_is_read(objects: S3Objects, bucket: str) -> None:
    s3().client().put_object(Bucket=bucket, Key="by/hand", Body=b"plain")
    assert objects.get("by/hand") == b"plain"


def test_objects_larger_than_the_limit_are_neither_written_nor_read(bucket: str) -> None:
    small = S3Objects(settings(s3(), bucket, object_bytes_max=100))
    small.put("a", b"x" * 100)
    with pytest.raises(ValueError, match="larger than 100"):
        small.put("b", b"x" * 101)
    S3Objects(settings(s3(), bucket)).put("b", b"x" * 101)
    assert small.get("a") == b"x" * 100
    with pytest.raises(CorruptArchiveError, match="b: it is larger than 100 bytes"):
        small.get("b")


def test_a_listing_asks_for_a_page_when_it_is_wanted(objects: S3Objects, bucket: str) -> None:
    for i in range(10):
        objects.put(f"k/{i}", b"")
    pages = iter(objects.list("k/"))
    assert [next(pages).key for _ in range(3)] == ["k/0", "k/1", "k/2"]
    objects.delete("k/3")
    assert [info.key for info in pages] == [f"k/{i}" for i in range(4, 10)]


def test_every_letter_that_a_key_may_hold_is_kept(objects: S3Objects) -> None:
    keys = [f"a/{letter}x%20{letter}" for letter in "_%=+~@,-"] + ["a/b..c", "a/%2E%2F"]
    for key in keys:
        objects.put_if_absent(key, key.encode())
    assert [info.key for info in objects.list("a/")] == sorted(keys)
    for key in keys:
        assert objects.get(key) == key.encode()
        assert next(objects.list("a/", key), None) == next((i for i in objects.list("a/") if i.key > key), None)


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "a/../b", ".hidden", "a b", "a\0b", "ä", "x" * 201, "a/" * 600 + "a"]
)
def test_a_key_that_a_folder_could_not_hold_is_refused(objects: S3Objects, key: str) -> None:
    for call in (objects.get, objects.delete, lambda k: objects.put(k, b""), lambda k: objects.put_if_absent(k, b"")):
        with pytest.raises(ValueError, match="not an object key"):
            call(key)


def test_a_folder_marker_of_others_is_not_listed(objects: S3Objects, bucket: str) -> None:
    s3().client().put_object(Bucket=bucket, Key="made/by/a/console/", Body=b"")
    objects.put("made/by/us", b"")
    assert [info.key for info in objects.list("made/")] == ["made/by/us"]
    with pytest.raises(NoSuchObjectError):
        objects.get("made/by/a/console")
