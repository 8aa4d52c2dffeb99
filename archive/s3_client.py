"""boto3's client as the archive wants it: one try per call, and checksums that we compute."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from archive.port import ArchiveConfigError
from archive.s3_settings import S3Settings
from bus.tls import Tls


def s3_client(settings: S3Settings) -> Any:
    """Safe from several threads; it connects at the first call. Raises ArchiveConfigError."""
    certificate = _certificate(settings.tls) if settings.tls is not None else None
    config = Config(
        region_name=settings.region,
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings.path_style else "auto"},
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=settings.connections_max,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        client_cert=certificate,
    )
    try:
        # A session of its own: the default one is not safe from several threads.
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            aws_session_token=settings.session_token,
            verify=_verification(settings.tls),
            config=config,
        )
        client.meta.events.register("before-call.s3", _follow_no_redirect)
        return client
    except (BotoCoreError, ValueError) as error:
        raise ArchiveConfigError(
            f"S3 cannot be used ({type(error).__name__}); check region, endpoint_url and AWS's own files"
        ) from error


def _follow_no_redirect(context: dict[str, Any], **_: object) -> None:
    # botocore would look for the bucket's region at every call, and for ever where each answer is a redirect.
    context.setdefault("s3_redirect", {})["redirected"] = True


def _verification(tls: Tls | None) -> bool | str | None:
    if tls is None:
        return None
    if not tls.verify:
        return False
    return str(tls.ca_file) if tls.ca_file is not None else None


def _certificate(tls: Tls) -> str | tuple[str, str] | None:
    if tls.key_password is not None:
        raise ArchiveConfigError("the S3 client cannot read a key with a password; give it a key_file without one")
    try:
        tls.context()
    except OSError as error:
        raise ArchiveConfigError(
            f"the certificates for S3 cannot be used ({error.strerror or type(error).__name__});"
            " check ca_file, certificate_file and key_file"
        ) from error
    if tls.certificate_file is None:
        return None
    return str(tls.certificate_file) if tls.key_file is None else (str(tls.certificate_file), str(tls.key_file))
