"""What is wrong with a bucket is said at the start, in one sentence and without a secret."""

from __future__ import annotations

import datetime
import traceback
import uuid
from pathlib import Path
from urllib.parse import parse_qsl

import botocore.exceptions
import pytest
import trustme
import urllib3.exceptions

from archive.port import ArchiveConfigError, ArchiveError, ArchiveUnavailableError, ObjectExistsError
from archive.s3 import S3Objects
from archive.s3_faults import fault_of
from archive.s3_settings import S3Settings
from bus.tls import Tls
from tests.archive.s3_proxy import Answer, Asked, error, scripted
from tests.archive.test_s3 import new_bucket, settings
from tests.servers.s3 import READER_ACCESS_KEY, READER_SECRET_KEY, SECRET_KEY, s3, start_s3

# Building the server takes minutes, once: that is the fixtures' time, not the tests'.
pytestmark = pytest.mark.timeout(120, func_only=True)

WRONG_SECRET = "not-the-secret-of-anybody"


@pytest.fixture
def bucket() -> str:
    return new_bucket(s3())


def refused(objects: S3Objects) -> str:
    """What check says; in flight the same must be an outage that is tried again."""
    with pytest.raises(ArchiveConfigError) as raised:
        objects.check()
    with pytest.raises(ArchiveUnavailableError) as in_flight:
        objects.put_if_absent("a/b", b"x")
    for found in (raised.value, in_flight.value):
        shown = "".join(traceback.format_exception(found)) + repr(found) + repr(objects)
        assert not any(secret in shown for secret in (WRONG_SECRET, SECRET_KEY, READER_SECRET_KEY))
    said = str(raised.value)
    assert "\n" not in said
    return said.split(": ", 1)[1]


def test_a_wrong_secret(bucket: str) -> None:
    objects = S3Objects(settings(s3(), bucket, secret_access_key=WRONG_SECRET))
    assert refused(objects) == ("the secret is not that of this access key; check access_key_id and secret_access_key")


def test_an_unknown_key(bucket: str) -> None:
    objects = S3Objects(settings(s3(), bucket, access_key_id="nobody", secret_access_key=WRONG_SECRET))
    assert refused(objects) == "it does not know this access key; check access_key_id and secret_access_key"


def test_another_region(bucket: str) -> None:
    objects = S3Objects(settings(s3(), bucket, region="eu-west-1"))
    assert refused(objects) == "the bucket is in another region; check region and endpoint_url"


def test_no_bucket(bucket: str) -> None:
    assert refused(S3Objects(settings(s3(), f"{bucket}-never-made"))) == (
        "there is no such bucket; create it, or check bucket and endpoint_url"
    )


def test_a_name_that_no_bucket_has(bucket: str) -> None:
    assert refused(S3Objects(settings(s3(), f"{bucket} no bucket"))) == (
        "the request cannot be made; check bucket, region and prefix"
    )


def test_a_bucket_that_may_only_be_read(bucket: str) -> None:
    bucket = s3().make_read_only_bucket(f"ro-{uuid.uuid4().hex[:12]}")
    s3().client().put_object(Bucket=bucket, Key="a/old", Body=b"old")
    objects = S3Objects(settings(s3(), bucket, access_key_id=READER_ACCESS_KEY, secret_access_key=READER_SECRET_KEY))
    assert refused(objects) == (
        "this user lacks the right; allow it to list the bucket, and to get, put and delete its objects"
    )
    assert objects.get("a/old") == b"old"
    assert [info.key for info in objects.list("")] == ["a/old"]


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_certificate_that_has_expired_and_one_of_strangers(bucket: str, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    expired = authority.issue_cert("127.0.0.1", not_before=long_ago, not_after=long_ago + datetime.timedelta(days=1))
    for name, ca in (("ca.pem", authority), ("stranger.pem", stranger)):
        ca.cert_pem.write_to_path(tmp_path / name)
    urls = {}
    for name, issued in (("expired", expired), ("good", authority.issue_cert("127.0.0.1"))):
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        server = start_s3(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        server.make_bucket(bucket)
        urls[name] = server
    known = Tls(ca_file=tmp_path / "ca.pem")
    assert refused(S3Objects(settings(urls["expired"], bucket, tls=known))) == (
        "its certificate is not accepted, certificate has expired; renew it, or check ca_file"
    )
    said = refused(S3Objects(settings(urls["good"], bucket, tls=Tls(ca_file=tmp_path / "stranger.pem"))))
    assert said.startswith("its certificate is not accepted, ")
    S3Objects(settings(urls["good"], bucket, tls=known)).check()
    S3Objects(settings(urls["expired"], bucket, tls=Tls(verify=False))).check()
    for one in urls.values():
        one.server.kill()


def test_tls_to_a_port_that_speaks_none(bucket: str) -> None:
    url = s3().url.replace("http://", "https://")
    said = refused(S3Objects(settings(s3(), bucket, endpoint_url=url)))
    assert said == "it does not speak TLS; begin endpoint_url with http://"


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "ExpiredToken", "the session token has expired; give a new one"),
        (400, "InvalidToken", "the session token is not valid; give a new one"),
        (403, "RequestTimeTooSkewed", "the clocks differ too much; set this machine's clock"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region; check region and endpoint_url"),
        (301, "PermanentRedirect", "the bucket is in another region; check region and endpoint_url"),
        (501, "NotImplemented", "it lacks what the archive needs, conditional writes or CRC32C checksums; use a server that has both"),
        (403, "SomethingNew", "this user lacks the right; allow it to list the bucket, and to get, put and delete its objects"),
        (418, "Teapot", "it refuses (Teapot); check that it is an S3 server and endpoint_url its address"),
    ],
)  # fmt: skip
def test_what_a_server_may_refuse(status: int, code: str, says: str) -> None:
    with scripted(lambda _: error(status, code)) as url:
        assert refused(scripted_objects(url)) == says


def test_no_keys_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    with scripted(lambda _: Answer()) as url:
        said = refused(S3Objects(S3Settings("b", url, path_style=True)))
    assert said.startswith("no keys were found for it; ")


@pytest.mark.parametrize(
    ("raised", "cause", "in_doubt"),
    [
        (RuntimeError("refreshed, but still expired"), "refused", False),
        (OSError("reset"), "passing", True),
        (urllib3.exceptions.SSLError("bad record"), "passing", True),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="http://h"), "passing", False),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://h"), "passing", True),
    ],
)
def test_what_never_reached_the_server_is_no_doubt(raised: Exception, cause: str, in_doubt: bool) -> None:
    fault = fault_of(raised)
    assert (fault.cause, fault.in_doubt) == (cause, in_doubt)


def scripted_objects(url: str) -> S3Objects:
    return S3Objects(S3Settings("b", url, access_key_id="k", secret_access_key=WRONG_SECRET, path_style=True))


class PlainStore:
    """A server that answers, and ignores the conditions that it is told to."""

    def __init__(self, honours: str = "", listed: bool = True, ignores_after: bool = False) -> None:
        self._ignores_after = ignores_after
        self.objects: dict[str, bytes] = {}
        self._honours = honours
        self._listed = listed

    def answer(self, asked: Asked) -> Answer:
        if asked.method == "POST" and asked.query.startswith("uploads"):
            return Answer(200, b"<R><UploadId>u</UploadId></R>")
        if asked.method == "PUT" and "partNumber" in asked.query:
            return Answer(200, b"", (("ETag", '"e"'),))
        if asked.method in ("PUT", "POST"):
            if asked.path in self.objects and asked.method in self._honours:
                return error(412, "PreconditionFailed")
            self.objects[asked.path] = asked.body
            return Answer(200, b"<R><ETag>e</ETag></R>" if asked.method == "POST" else b"")
        if asked.method == "DELETE" and "uploadId" not in asked.query:
            self.objects.pop(asked.path, None)
        if asked.method == "DELETE":
            return Answer(204)
        if "list-type" in asked.query:
            after = dict(parse_qsl(asked.query)).get("start-after", "")
            keys = [k.removeprefix("/b/") for k in self.objects if self._listed]
            keys = [k for k in keys if self._ignores_after or k > after]
            page = "".join(f"<Contents><Key>{k}</Key><Size>1</Size></Contents>" for k in keys)
            return Answer(200, f"<ListBucketResult>{page}</ListBucketResult>".encode())
        return Answer(200, self.objects[asked.path])


@pytest.mark.parametrize(
    ("honours", "listed", "says"),
    [
        ("", True, "it ignores If-None-Match, so that two writers could overwrite each other; use a server with conditional writes"),
        ("PUT", True, "it ignores If-None-Match when parts are put together, so that two writers could overwrite each other; use a server"
         " with conditional writes"),
        ("PUT POST", False, "it is not listed after it was written; use another server"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_keep_the_promise_is_refused(honours: str, listed: bool, says: str) -> None:
    store = PlainStore(honours, listed)
    with scripted(store.answer) as url, pytest.raises(ArchiveConfigError) as raised:
        scripted_objects(url).check()
    assert str(raised.value).split(": ", 1)[1] == says
    assert store.objects == {}


def test_a_server_that_lists_from_the_start_always_is_refused() -> None:
    store = PlainStore("PUT POST", ignores_after=True)
    with scripted(store.answer) as url, pytest.raises(ArchiveConfigError, match="not in the order of keys"):
        scripted_objects(url).check()
    assert store.objects == {}


def test_a_server_that_keeps_it_passes() -> None:
    store = PlainStore("PUT POST")
    with scripted(store.answer) as url:
        scripted_objects(url).check()
        scripted_objects(url).put_if_absent("a", b"1")
        with pytest.raises(ObjectExistsError):
            scripted_objects(url).put_if_absent("a", b"2")


def test_files_that_cannot_be_used_are_said_before_anything_is_asked(tmp_path: Path) -> None:
    for tls, says in (
        (Tls(ca_file=tmp_path / "none.pem"), "the certificates for S3 cannot be used"),
        (Tls(key_file=tmp_path / "k", key_password=WRONG_SECRET), "the S3 client cannot read a key with a password"),
    ):
        with pytest.raises(ArchiveError, match=says) as raised:
            S3Objects(S3Settings("b", "https://127.0.0.1:1", tls=tls))
        assert isinstance(raised.value, ArchiveConfigError)
        assert WRONG_SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bucket": ""}, "name the bucket"),
        ({"access_key_id": "k"}, "give both access_key_id and secret_access_key, or neither"),
        ({"endpoint_url": "127.0.0.1:9000"}, "must begin with http:// or https://"),
        ({"endpoint_url": f"http://u:{WRONG_SECRET}@h"}, "must hold no user, password or query"),
        ({"prefix": "/p"}, "one slash between each"),
        ({"prefix": "p//q"}, "one slash between each"),
        ({"prefix": "../q"}, "one slash between each"),
        ({"prefix": "ä"}, "letters, digits"),
        ({"multipart_bytes": 1024}, "multipart_bytes must be at least 5242880"),
        ({"object_bytes_max": 1 << 50}, "object_bytes_max must be at most"),
        ({"page_keys": 0}, "page_keys must be from 1 to 1000"),
    ],
)
def test_settings_that_cannot_be_meant(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        S3Settings(**{"bucket": "b"} | changes)  # type: ignore[arg-type]
    assert WRONG_SECRET not in str(raised.value)


def test_settings_do_not_show_what_is_secret() -> None:
    shown = repr(S3Settings("b", access_key_id="k", secret_access_key=WRONG_SECRET, session_token=WRONG_SECRET))
    assert WRONG_SECRET not in shown
