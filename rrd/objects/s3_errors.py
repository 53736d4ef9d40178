"""What the many errors of aiobotocore mean: sentences that say what to check, and hold no secrets."""

from __future__ import annotations

from aiohttp import ClientError as BrokenConnection
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from rrd.errors import ObjectError, ObjectMissing, ObjectRejected, StoreAway

FAILURES = (BotoCoreError, ClientError, ResponseParserError, BrokenConnection, TimeoutError, OSError)
"""All that a call may raise."""


class NotOffered(StoreAway):
    """The server knows no such operation."""


class BeyondEnd(ObjectError):
    """A range begins beyond the object's end (RFC 9110, 15.5.17)."""


_MISSING = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404", "NotFound"}
_DAMAGED = {
    *("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
    "XAmzContentMD5Mismatch",
}
_CREDENTIALS = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"),
    *("AuthorizationHeaderMalformed", "InvalidSecurity", "NotSignedUp"),
}
_NOT_OFFERED = {"NotImplemented", "MethodNotAllowed"}

_CHECK_CREDENTIALS = (
    "check the credentials (s3_credentials_file, or the AWS chain where that is empty) and s3_region"
)
_HINTS = {
    "NoSuchBucket": "make the bucket, or check s3_bucket and s3_endpoint",
    "RequestTimeTooSkewed": "check the clocks of this machine and of the server",
    "PermanentRedirect": "check s3_region and s3_endpoint",
    "IllegalLocationConstraintException": "check s3_region",
    "InvalidStorageClass": "check s3_storage_class",
    "InvalidObjectState": "it lies in an archive: s3_storage_class must be one that can be read at once",
    "EntityTooLarge": "lower s3_multipart_bytes",
    "EntityTooSmall": "raise s3_multipart_bytes",
    "QuotaExceeded": "raise the bucket's quota, or shorten retention",
    **dict.fromkeys(_CREDENTIALS, _CHECK_CREDENTIALS),
}
_RIGHTS = (
    "the credentials need s3:ListBucket, GetObject, PutObject, DeleteObject, AbortMultipartUpload, "
    "ListBucketMultipartUploads, ListBucketVersions and DeleteObjectVersion on the bucket"
)
_REFUSED = "check s3_checksum, s3_encryption, s3_kms_key and s3_storage_class"


def is_about_credentials(error: BaseException) -> bool:
    """Tell if other credentials could mend it, so that it is worth looking for them again."""
    if isinstance(error, ClientError):
        return _code(error) in _CREDENTIALS or _status(error) in {401, 403}
    return isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError)


def meaning(error: BaseException, what: str, name: str, deadline_s: float) -> ObjectError:
    """Turn what a call raised into one of ours: a sentence with what to do, and without secrets.

    ``what`` was tried ("get a/b/c"), on the store ``name``, for ``deadline_s`` seconds at most.
    """
    if isinstance(error, ClientError):
        return _answered(error, what, name)
    if is_about_credentials(error):
        return StoreAway(f"{name}: can't {what}: no credentials: {_CHECK_CREDENTIALS}")
    if isinstance(error, TimeoutError):
        return StoreAway(f"{name}: can't {what}: no answer within {deadline_s:.0f} s")
    # Of the rest only the text: it names the endpoint, and what the connection died of.
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return StoreAway(f"{name}: can't {what}: {text}")


def _answered(error: ClientError, what: str, name: str) -> ObjectError:
    code, status = _code(error), _status(error)
    # Only the message: other elements quote the key's id and what was signed.
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:200]
    said = f"{status} {code}" + (f" ({message})" if message and message != code else "")
    if code in _MISSING:
        return ObjectMissing(f"{name}: can't {what}: there is no such object")
    if status == 416:
        return BeyondEnd(f"{name}: can't {what}: {said}")
    if code in _NOT_OFFERED or status in {405, 501}:
        return NotOffered(f"{name}: can't {what}: {said}")
    if code in _DAMAGED:
        return ObjectRejected(f"{name}: can't {what}: it was damaged on the way, says the store: {said}")
    hint = _HINTS.get(code, "")
    if not hint and status in {401, 403}:
        hint = _RIGHTS
    elif not hint and 400 <= status < 500 and status not in {408, 409, 429}:
        hint = _REFUSED
    return StoreAway(f"{name}: can't {what}: {said}" + (f": {hint}" if hint else ""))


def _code(error: ClientError) -> str:
    """Return the S3 error code of an answer; the HTTP status where there was no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
