"""Sending one object to S3: whole, or in parts; each with its CRC32C, which the server verifies."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c

from archive.s3_attempts import Attempts
from archive.s3_faults import S3_ERRORS, fault_of

CRC_METADATA: Final = "crc32c"
"""Under this name our CRC32C goes with the object, for servers that keep no checksum themselves."""

_log = logging.getLogger(__name__)


def crc32c_text(data: bytes) -> str:
    """As S3 writes it: base64 of four big-endian bytes."""
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


@dataclass(frozen=True, slots=True)
class Upload:
    """One object to be written, by one call."""

    client: Any
    bucket: str
    key: str
    """With the prefix."""
    data: bytes
    absent: bool
    """Only if there is none."""

    def send(self, attempts: Attempts) -> None:
        """In one request. Raises as Attempts.run does."""
        crc = crc32c_text(self.data)
        attempts.run(
            lambda: self.client.put_object(
                Bucket=self.bucket, Key=self.key, Body=self.data, ChecksumCRC32C=crc,
                Metadata={CRC_METADATA: crc}, **self._condition(),
            )
        )  # fmt: skip

    def send_parts(self, part_bytes: int, attempts: Callable[[], Attempts], last: Attempts) -> None:
        """In parts of that size; `last` tries the completion, which alone decides. Raises as Attempts.run does."""
        crc = crc32c_text(self.data)
        made = attempts().run(
            lambda: self.client.create_multipart_upload(
                Bucket=self.bucket, Key=self.key, ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT",
                Metadata={CRC_METADATA: crc},
            )
        )  # fmt: skip
        upload = {"Bucket": self.bucket, "Key": self.key, "UploadId": made["UploadId"]}
        try:
            parts = [
                self._send_part(upload, number, self.data[at : at + part_bytes], attempts())
                for number, at in enumerate(range(0, len(self.data), part_bytes), 1)
            ]
            last.run(
                lambda: self.client.complete_multipart_upload(
                    **upload, MultipartUpload={"Parts": parts}, ChecksumCRC32C=crc, ChecksumType="FULL_OBJECT",
                    **self._condition(),
                )
            )  # fmt: skip
        except BaseException:
            self._abort(upload)
            raise

    def _send_part(self, upload: dict[str, str], number: int, data: bytes, attempts: Attempts) -> dict[str, object]:
        crc = crc32c_text(data)
        sent = attempts.run(lambda: self.client.upload_part(**upload, PartNumber=number, Body=data, ChecksumCRC32C=crc))
        return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32C": crc}

    def _abort(self, upload: dict[str, str]) -> None:
        """One try: what it leaves behind costs room, not truth, and a lifecycle rule of the bucket removes it."""
        try:
            self.client.abort_multipart_upload(**upload)
        except S3_ERRORS as error:
            fault = fault_of(error)
            if fault.cause != "missing":
                _log.warning("parts of %s stay behind in bucket %s: %s", self.key, self.bucket, fault.says)

    def _condition(self) -> dict[str, str]:
        return {"IfNoneMatch": "*"} if self.absent else {}
