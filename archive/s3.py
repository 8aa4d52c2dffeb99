"""Objects in an S3 bucket: AWS's, or a server's that honours If-None-Match and CRC32C.

Every object goes with its CRC32C, which the server verifies, and is verified again when it is read. A request is tried again until
the call's time is over. Where the answer of an earlier try was lost, a failed condition is settled by reading what is there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, Final

from archive.port import (
    ArchiveConfigError,
    ArchiveUnavailableError,
    CorruptArchiveError,
    NoSuchObjectError,
    ObjectExistsError,
    ObjectInfo,
)
from archive.s3_attempts import Attempts, ConditionError, MissingError, Pace
from archive.s3_client import s3_client
from archive.s3_faults import RefusedError
from archive.s3_settings import S3Settings
from archive.s3_upload import CRC_METADATA, Upload, crc32c_text

_KEY_BYTES_MAX: Final = 1024
_PIECE_BYTES: Final = 1024 * 1024
# As LocalObjects has it, so that an archive can be copied either way.
_KEY: Final = re.compile(r"(?:[A-Za-z0-9_%=+~@,-][A-Za-z0-9_%=+~@,.-]{0,199}(?:/(?!\Z)|\Z))+\Z")
_PROBES: Final = "_probe/"


class S3Objects:
    """An ObjectStore in one bucket, below a prefix. Safe from several threads and processes; not to be used across a fork.

    Keys are those of LocalObjects; another one raises ValueError, and so does an object larger than `object_bytes_max`.
    The constructor raises ArchiveConfigError for files that cannot be used, but asks nothing of the server: `check` does.
    """

    def __init__(self, settings: S3Settings, pace: Pace | None = None) -> None:
        self._settings = settings
        self._pace = pace or Pace()
        self._client: Any = s3_client(settings)

    def check(self) -> None:
        """Whether the bucket can be used as the archive needs it, tried on a probe that is removed again.

        Raises ArchiveConfigError, one sentence that says what to change; ArchiveUnavailableError when nobody answers.
        """
        try:
            self._probe(f"{_PROBES}{os.urandom(16).hex()}")
        except RefusedError as error:
            raise ArchiveConfigError(str(error)) from error

    def put(self, key: str, data: bytes) -> None:
        self._write(key, data, absent=False, whole=len(data) <= self._settings.multipart_bytes)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._write(key, data, absent=True, whole=len(data) <= self._settings.multipart_bytes)

    def get(self, key: str) -> bytes:
        return self._get(key, self._deadline())

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        skip = len(self._settings.folder)
        last = after
        while True:
            page = self._page(prefix, last)
            for found in page.get("Contents", ()):
                key = str(found["Key"])[skip:]
                if key <= last:
                    raise RefusedError(
                        f"{self._doing('list', prefix)}: its listings are not in the order of keys; use another server"
                    )
                last = key
                if not key.endswith("/"):
                    yield ObjectInfo(key, int(found["Size"]))
            if not page.get("IsTruncated"):
                return
            if not page.get("Contents"):
                raise RefusedError(f"{self._doing('list', prefix)}: its listings have no end; use another server")

    def delete(self, key: str) -> None:
        place = self._place(key)
        try:
            self._attempts("delete", key, self._deadline()).run(lambda: self._client.delete_object(**place))
        except MissingError:
            return

    def _write(self, key: str, data: bytes, *, absent: bool, whole: bool) -> None:
        if len(data) > self._settings.object_bytes_max:
            raise ValueError(f"an object of {len(data)} bytes is larger than {self._settings.object_bytes_max}")
        place = self._place(key)
        upload = Upload(self._client, place["Bucket"], place["Key"], data, absent)
        deadline = self._deadline()
        last = self._attempts("write", key, deadline)
        try:
            if whole:
                upload.send(last)
            else:
                upload.send_parts(self._settings.multipart_bytes, lambda: self._attempts("write", key, deadline), last)
        except (ConditionError, MissingError) as error:
            # Of an earlier try only the answer may have been lost.
            if last.in_doubt and self._holds(key, data, deadline):
                return
            if isinstance(error, ConditionError):
                raise ObjectExistsError(key) from None
            raise ArchiveUnavailableError(f"{self._doing('write', key)}: somebody removed its parts") from error

    def _holds(self, key: str, data: bytes, deadline: float) -> bool:
        try:
            return self._get(key, deadline) == data
        except NoSuchObjectError:
            return False

    def _get(self, key: str, deadline: float) -> bytes:
        attempts = self._attempts("read", key, deadline)
        place = self._place(key)
        try:
            data = attempts.run(lambda: self._body(key, place, attempts))
            if data is None:
                # Once it may have been the wire.
                data = attempts.run(lambda: self._body(key, place, attempts))
        except MissingError:
            raise NoSuchObjectError(key) from None
        if data is None:
            raise CorruptArchiveError(key, "it is not what its checksum says was written")
        return data

    def _body(self, key: str, place: dict[str, str], attempts: Attempts) -> bytes | None:
        """None when it came whole, but is not what its checksum says."""
        answer = self._client.get_object(**place, ChecksumMode="ENABLED")
        left = self._settings.object_bytes_max
        pieces = []
        with contextlib.closing(answer["Body"]) as body:
            for piece in body.iter_chunks(_PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    raise CorruptArchiveError(key, f"it is larger than {self._settings.object_bytes_max} bytes")
                pieces.append(piece)
                attempts.check_time()
        data = b"".join(pieces)
        if _claimed_crc(answer) not in (None, crc32c_text(data)):
            return None
        return data

    def _page(self, prefix: str, after: str) -> Any:
        asked = {"Bucket": self._settings.bucket, "Prefix": self._settings.folder + prefix}
        if after:
            # The last key instead of a continuation token: it does not grow old while the caller reads.
            asked["StartAfter"] = self._settings.folder + after
        attempts = self._attempts("list", prefix, self._deadline())
        try:
            return attempts.run(lambda: self._client.list_objects_v2(**asked, MaxKeys=self._settings.page_keys))
        except MissingError as error:
            raise RefusedError(f"{self._doing('list', prefix)}: it is not an S3 server; check endpoint_url") from error

    def _probe(self, key: str) -> None:
        first, second = os.urandom(32), os.urandom(32)
        self.put_if_absent(key, first)
        try:
            for whole in (True, False):
                try:
                    self._write(key, second, absent=True, whole=whole)
                except ObjectExistsError:
                    continue
                how = "" if whole else " when parts are put together"
                raise RefusedError(
                    f"{self._doing('use', key)}: it ignores If-None-Match{how}, so that two writers could overwrite each"
                    " other; use a server with conditional writes"
                )
            if self.get(key) != first:
                raise RefusedError(f"{self._doing('read', key)}: it is not what was written; use another server")
            if [found.key for found in (*self.list(key), *self.list(key, key))] != [key]:
                raise RefusedError(
                    f"{self._doing('list', key)}: it is not listed after it was written; use another server"
                )
        finally:
            self.delete(key)

    def _place(self, key: str) -> dict[str, str]:
        if not _KEY.match(key) or len(self._settings.folder) + len(key) > _KEY_BYTES_MAX:
            raise ValueError(f"not an object key: {key!r}")
        return {"Bucket": self._settings.bucket, "Key": self._settings.folder + key}

    def _deadline(self) -> float:
        return self._pace.clock() + self._settings.call_timeout_s

    def _attempts(self, verb: str, key: str, deadline: float) -> Attempts:
        return Attempts(self._doing(verb, key), deadline, self._pace)

    def _doing(self, verb: str, key: str) -> str:
        where = self._settings.endpoint_url or "AWS"
        return f"cannot {verb} {self._settings.folder}{key} in bucket {self._settings.bucket} of S3 at {where}"


def _claimed_crc(answer: Any) -> str | None:
    """The CRC32C of the whole object, as the server has computed it, else as we gave it; None for an object of others."""
    found = answer.get("ChecksumCRC32C")
    # With a dash it is one of the parts' checksums.
    if found is None or "-" in found:
        found = answer.get("Metadata", {}).get(CRC_METADATA)
    return None if found is None else str(found)
