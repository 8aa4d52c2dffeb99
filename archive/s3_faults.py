"""What S3's errors mean to the archive, and what is said of them. No message of the server is repeated: it may hold what is secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import urllib3.exceptions
from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from archive.port import ArchiveUnavailableError

S3_ERRORS: Final = (ClientError, BotoCoreError, urllib3.exceptions.HTTPError, OSError, RuntimeError)
"""What a call may raise: of botocore, of what it stands on and does not wrap, and when keys that it fetched have expired."""

Cause: TypeAlias = Literal["passing", "refused", "missing", "exists"]


class RefusedError(ArchiveUnavailableError):
    """Waiting does not mend it: at a start it becomes ArchiveConfigError, in flight it is tried again like any outage."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed request."""

    cause: Cause
    """passing: try again; refused: somebody must act; missing: no such object or upload; exists: the condition failed."""
    says: str
    in_doubt: bool = False
    """Whether the server may have carried it out all the same."""


_KEYS: Final = "check access_key_id and secret_access_key"
_PLACE: Final = "check region and endpoint_url"
_REFUSED: Final = {
    "InvalidAccessKeyId": f"it does not know this access key; {_KEYS}",
    "SignatureDoesNotMatch": f"the secret is not that of this access key; {_KEYS}",
    "ExpiredToken": "the session token has expired; give a new one",
    "InvalidToken": "the session token is not valid; give a new one",
    "TokenRefreshRequired": "the session token has expired; give a new one",
    "AccessDenied": "this user lacks the right; allow it to list the bucket, and to get, put and delete its objects",
    "NoSuchBucket": "there is no such bucket; create it, or check bucket and endpoint_url",
    "InvalidBucketName": "that is not the name of a bucket; check bucket",
    "AuthorizationHeaderMalformed": f"the bucket is in another region; {_PLACE}",
    "PermanentRedirect": f"the bucket is in another region; {_PLACE}",
    "TemporaryRedirect": f"the bucket is in another region; {_PLACE}",
    "IllegalLocationConstraintException": f"the bucket is in another region; {_PLACE}",
    "RequestTimeTooSkewed": "the clocks differ too much; set this machine's clock",
    "NotImplemented": "it lacks what the archive needs, conditional writes or CRC32C checksums; use a server that has both",
}
_BY_STATUS: Final = {301: "PermanentRedirect", 307: "TemporaryRedirect", 403: "AccessDenied", 501: "NotImplemented"}
# The server's or the wire's trouble, though the status blames the request.
_PASSING: Final = frozenset(
    {
        "BadDigest", "IncompleteBody", "OperationAborted", "RequestTimeout", "SlowDown", "Throttling",
        "ThrottlingException", "TooManyRequests", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch",
        "ConditionalRequestConflict", "RequestLimitExceeded",
    }
)  # fmt: skip
_NOT_SENT: Final = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_NO_KEYS: Final = (
    boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.TokenRetrievalError,
    boto.NoAuthTokenError, boto.SSOError, boto.LoginError,
)  # fmt: skip
_VERIFICATION = re.compile(r"certificate verify failed: ([^(\n]+)")


def fault_of(error: Exception) -> Fault:
    """`error` is one of S3_ERRORS."""
    if isinstance(error, ClientError):
        return _answered(error)
    if isinstance(error, boto.SSLError):
        return _not_trusted(str(error))
    if isinstance(error, _NOT_SENT):
        return Fault("passing", "it cannot be reached; check endpoint_url and that it runs")
    if isinstance(error, _NO_KEYS):
        return Fault("refused", f"no keys were found for it; {_KEYS}, or this machine's role")
    if isinstance(error, RuntimeError):
        return Fault("refused", f"its keys have expired and no new ones came; {_KEYS}, or this machine's role")
    if isinstance(error, boto.ParamValidationError | boto.InvalidDNSNameError | boto.InvalidRegionError):
        return Fault("refused", "the request cannot be made; check bucket, region and prefix")
    if isinstance(error, boto.ReadTimeoutError):
        return Fault("passing", "it does not answer in time", in_doubt=True)
    return Fault("passing", f"the connection broke off ({type(error).__name__})", in_doubt=True)


def _answered(error: ClientError) -> Fault:
    said = error.response
    status = int(said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = re.sub(r"[^A-Za-z0-9]", "", str(said.get("Error", {}).get("Code", "")))[:60]
    if status == 412 or code == "PreconditionFailed":
        return Fault("exists", "there is such an object")
    if code in _PASSING or status == 429:
        return Fault("passing", f"it asks to try again ({code})")
    if code in ("NoSuchKey", "NoSuchUpload") or (status == 404 and code == "404"):
        return Fault("missing", "there is no such object")
    advice = _REFUSED.get(code)
    if (advice is None and status < 500) or status == 501:
        advice = _REFUSED.get(_BY_STATUS.get(status, ""))
        code = code or str(status)
    if advice is not None:
        return Fault("refused", advice)
    if 300 <= status < 500:
        return Fault("refused", f"it refuses ({code}); check that it is an S3 server and endpoint_url its address")
    # An answer of 200 can hold an error too.
    return Fault("passing", f"it is in trouble ({code or status})", in_doubt=True)


def _not_trusted(said: str) -> Fault:
    found = _VERIFICATION.search(said)
    if found is not None:
        reason = found[1].strip(" .;,")
        return Fault("refused", f"its certificate is not accepted, {reason}; renew it, or check ca_file")
    if "WRONG_VERSION_NUMBER" in said:
        return Fault("refused", "it does not speak TLS; begin endpoint_url with http://")
    return Fault("passing", "the encrypted connection broke off", in_doubt=True)
