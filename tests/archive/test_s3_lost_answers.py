"""S3 whose answers are lost, that is in trouble, or that is killed."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest

from archive.port import ArchiveUnavailableError, CorruptArchiveError, ObjectExistsError
from archive.s3 import S3Objects
from archive.s3_attempts import Pace
from archive.s3_settings import S3Settings
from tests.archive.s3_proxy import Answer, Asked, error, losing, scripted
from tests.archive.test_s3 import PART_BYTES, new_bucket, settings
from tests.routers.running import eventually
from tests.servers.s3 import S3Server, s3, start_s3

# Building the server takes minutes, once: that is the fixtures' time, not the tests'.
pytestmark = pytest.mark.timeout(120, func_only=True)

SMALL = b"x" * 1000
LARGE = b"y" * (PART_BYTES + 1000)


class Time:
    """Goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pace = Pace(lambda: self.now, self.sleep, lambda: 0.5)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def bucket() -> str:
    return new_bucket(s3())


@pytest.fixture
def own_server() -> Iterator[S3Server]:
    """To be killed."""
    server = start_s3()
    yield server
    server.server.kill()


def through(url: str, bucket: str) -> S3Objects:
    return S3Objects(settings(s3(), bucket, endpoint_url=url), Time().pace)


def direct(bucket: str) -> S3Objects:
    return S3Objects(settings(s3(), bucket))


def uploads(bucket: str) -> object:
    return s3().client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])


@pytest.mark.parametrize("absent", [True, False])
@pytest.mark.parametrize(
    ("method", "query", "data"),
    [
        ("PUT", "", SMALL),
        ("POST", "uploads", LARGE),
        ("PUT", "partNumber=1", LARGE),
        ("PUT", "partNumber=2", LARGE),
        ("POST", "uploadId=", LARGE),
    ],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_write_whose_answer_is_lost_succeeds(
    bucket: str, method: str, query: str, data: bytes, absent: bool, times: int
) -> None:
    with losing(s3(), method, query, times) as proxy:
        objects = through(proxy.url, bucket)
        (objects.put_if_absent if absent else objects.put)("a/b", data)
        tried = [r for r in proxy.requests if r.startswith(method) and query in r]
        assert len(tried) == times + 1
    assert direct(bucket).get("a/b") == data


@pytest.mark.parametrize(("method", "query", "data"), [("PUT", "", SMALL), ("POST", "uploadId=", LARGE)])
def test_a_lost_answer_never_makes_anothers_object_ours(bucket: str, method: str, query: str, data: bytes) -> None:
    direct(bucket).put("a/b", b"another writer's")
    with losing(s3(), method, query) as proxy, pytest.raises(ObjectExistsError):
        through(proxy.url, bucket).put_if_absent("a/b", data)
    assert direct(bucket).get("a/b") == b"another writer's"
    assert uploads(bucket) == []


@pytest.mark.parametrize(("method", "query", "data"), [("PUT", "", SMALL), ("POST", "uploadId=", LARGE)])
def test_when_no_answer_comes_at_all_the_call_ends_and_a_later_one_sees_what_happened(
    bucket: str, method: str, query: str, data: bytes
) -> None:
    with losing(s3(), method, query, times=10**6) as proxy:
        with pytest.raises(ArchiveUnavailableError, match=r"cannot write a/b in bucket .*: the connection broke off"):
            through(proxy.url, bucket).put_if_absent("a/b", data)
        assert len([r for r in proxy.requests if r.startswith(method) and query in r]) > 5
    with pytest.raises(ObjectExistsError):
        direct(bucket).put_if_absent("a/b", b"later")
    assert direct(bucket).get("a/b") == data
    assert uploads(bucket) == []


def test_the_parts_of_a_write_that_fails_are_removed(bucket: str) -> None:
    with losing(s3(), "PUT", "partNumber=2", times=10**6) as proxy, pytest.raises(ArchiveUnavailableError):
        through(proxy.url, bucket).put("a/b", LARGE)
    assert uploads(bucket) == []
    assert list(direct(bucket).list("")) == []


def test_a_read_a_listing_and_a_delete_survive_lost_answers(bucket: str) -> None:
    direct(bucket).put("a/b", LARGE)
    for method, query, passed in (("GET", "a/b", 70_000), ("GET", "list-type", 0), ("DELETE", "a/b", 0)):
        with losing(s3(), method, query, 2, passed) as proxy:
            objects = through(proxy.url, bucket)
            if method == "DELETE":
                objects.delete("a/b")
            elif query == "a/b":
                assert objects.get("a/b") == LARGE
            else:
                assert [info.key for info in objects.list("")] == ["a/b"]
            assert len([r for r in proxy.requests if r.startswith(method) and query in r]) == 3
    assert list(direct(bucket).list("")) == []


def scripted_objects(url: str) -> S3Objects:
    return S3Objects(
        S3Settings("b", url, access_key_id="k", secret_access_key="s", path_style=True), Time().pace
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, "ConditionalRequestConflict"), (409, "OperationAborted"), (503, "SlowDown"), (500, "InternalError"),
     (429, "TooManyRequests"), (400, "RequestTimeout"), (400, "BadDigest"), (502, "")],
)  # fmt: skip
def test_what_passes_by_itself_is_tried_again(status: int, code: str) -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> Answer:
        asked.append(request)
        return error(status, code) if len(asked) < 4 else Answer()

    with scripted(answer) as url:
        scripted_objects(url).put_if_absent("a", b"data")
    assert [(a.method, a.headers["If-None-Match"], a.body) for a in asked] == [("PUT", "*", b"data")] * 4


def test_a_conflict_of_two_writers_ends_as_the_server_decides() -> None:
    answers = itertools.chain(
        [error(409, "ConditionalRequestConflict")], itertools.repeat(error(412, "PreconditionFailed"))
    )
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(request.method)
        return next(answers)

    with scripted(answer) as url, pytest.raises(ObjectExistsError):
        scripted_objects(url).put_if_absent("a", b"data")
    # A conflict is no doubt: nothing was read.
    assert asked == ["PUT", "PUT"]


def test_trouble_ends_with_the_calls_time_and_a_sentence() -> None:
    with scripted(lambda _: error(503, "SlowDown")) as url:
        time = Time()
        objects = S3Objects(S3Settings("b", url, access_key_id="k", secret_access_key="s", path_style=True), time.pace)
        with pytest.raises(ArchiveUnavailableError) as raised:
            objects.get("a")
    assert str(raised.value) == f"cannot read a in bucket b of S3 at {url}: it asks to try again (SlowDown)"
    assert 50 < time.now <= 60


def test_a_body_that_the_wire_spoilt_once_is_read_again() -> None:
    bodies = iter([b"spoilt", b"123456789"])
    headers = (("x-amz-checksum-crc32c", "4waSgw=="),)
    with scripted(lambda _: Answer(200, next(bodies), headers)) as url:
        assert scripted_objects(url).get("a") == b"123456789"
    with scripted(lambda _: Answer(200, b"spoilt", headers)) as url, pytest.raises(CorruptArchiveError):
        scripted_objects(url).get("a")


def test_a_body_that_trickles_ends_with_the_calls_time() -> None:
    ticks = itertools.count(0, 100)
    pace = Pace(lambda: float(next(ticks)), lambda _: None, lambda: 0.5)
    with scripted(lambda _: Answer(200, b"some")) as url:
        objects = S3Objects(S3Settings("b", url, access_key_id="k", secret_access_key="s", path_style=True), pace)
        with pytest.raises(ArchiveUnavailableError, match="it does not answer in time"):
            objects.get("a")


def test_a_listing_that_is_not_in_order_is_refused() -> None:
    keys = "".join(f"<Contents><Key>{k}</Key><Size>1</Size></Contents>" for k in ("b", "a"))
    page = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{keys}</ListBucketResult>'
    out_of_order = pytest.raises(ArchiveUnavailableError, match="not in the order of keys")
    with scripted(lambda _: Answer(200, page.encode())) as url, out_of_order:
        list(scripted_objects(url).list(""))


def test_a_listing_that_never_ends_is_refused() -> None:
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"
    endless = pytest.raises(ArchiveUnavailableError, match="its listings have no end")
    with scripted(lambda _: Answer(200, page)) as url, endless:
        list(scripted_objects(url).list(""))


class Writers:
    """Threads that write until they are stopped; what they were acknowledged."""

    def __init__(self, objects: S3Objects) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.failures: list[Exception] = []
        self._objects = objects
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(i,)) for i in range(3)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        for i in itertools.count():
            if self._stop.is_set():
                return
            key, size = f"k/{writer}/{i:06d}", PART_BYTES + 10 if i % 5 == 4 else 20_000
            data = f"{writer}.{i}.".encode() * (size // 8)
            try:
                self._objects.put_if_absent(key, data)
                self.acknowledged[key] = data
            except Exception as error:
                self.failures.append(error)
                return


def test_what_was_acknowledged_before_the_server_was_killed_is_there_and_whole(own_server: S3Server) -> None:
    objects = S3Objects(settings(own_server, own_server.make_bucket("killed"), connect_timeout_s=1.0))
    writers = Writers(objects)
    try:
        for _ in range(2):
            wanted = len(writers.acknowledged) + 30
            eventually(lambda w=wanted: len(writers.acknowledged) >= w or writers.failures)  # type: ignore[misc]
            own_server.server.kill()
            own_server.server.start()
        wanted = len(writers.acknowledged) + 10
        eventually(lambda: len(writers.acknowledged) >= wanted or writers.failures)
    finally:
        writers.stop()
    assert writers.failures == []
    listed = {info.key: info.size_bytes for info in objects.list("k/")}
    assert set(writers.acknowledged) == set(listed)
    for key, data in writers.acknowledged.items():
        assert objects.get(key) == data


def test_a_server_that_is_gone_is_the_stores_fault(own_server: S3Server) -> None:
    own_server.server.kill()
    objects = S3Objects(settings(own_server, f"b-{uuid.uuid4().hex[:8]}"), Time().pace)
    calls: list[Callable[[], object]] = [
        lambda: objects.put("a", b""),
        lambda: objects.put_if_absent("a", b""),
        lambda: objects.get("a"),
        lambda: list(objects.list("")),
        lambda: objects.delete("a"),
        objects.check,
    ]
    for call in calls:
        with pytest.raises(ArchiveUnavailableError, match="it cannot be reached; check endpoint_url and that it runs"):
            call()
