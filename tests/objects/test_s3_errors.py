"""What errors of the S3 client are told as."""

from __future__ import annotations

import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)

from rrd.errors import ObjectError, ObjectMissing, ObjectRejected, StoreAway
from rrd.objects.s3_errors import FAILURES, BeyondEnd, NotOffered, is_about_credentials, meaning


def answered(status: int, code: str, message: str = "told so") -> ClientError:
    return ClientError(
        {
            "Error": {
                "Code": code,
                "Message": message,
                "AWSAccessKeyId": "AKIA-SECRET",
                "StringToSign": "SECRET",
            },
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        "PutObject",
    )


# What happened → (our error, words that must be in it)
MEANINGS: list[tuple[Exception, type[ObjectError], str]] = [
    (answered(404, "NoSuchKey"), ObjectMissing, "no such object"),
    (answered(404, "404"), ObjectMissing, "no such object"),
    (answered(404, "NoSuchUpload"), ObjectMissing, "no such"),
    (answered(404, "NoSuchBucket"), StoreAway, "s3_bucket"),
    (answered(416, "InvalidRange"), BeyondEnd, "416"),
    (answered(501, "NotImplemented"), NotOffered, "501"),
    (answered(405, "MethodNotAllowed"), NotOffered, "405"),
    (answered(400, "BadDigest"), ObjectRejected, "damaged on the way"),
    (answered(400, "XAmzContentSHA256Mismatch"), ObjectRejected, "damaged on the way"),
    (answered(403, "InvalidAccessKeyId"), StoreAway, "check the credentials"),
    (answered(403, "SignatureDoesNotMatch"), StoreAway, "check the credentials"),
    (answered(403, "RequestTimeTooSkewed"), StoreAway, "clocks"),
    (answered(403, "AccessDenied"), StoreAway, "s3:ListBucket"),
    (answered(403, "403"), StoreAway, "s3:ListBucket"),
    (answered(403, "QuotaExceeded"), StoreAway, "quota"),
    (answered(301, "PermanentRedirect"), StoreAway, "s3_region"),
    (answered(400, "InvalidStorageClass"), StoreAway, "s3_storage_class"),
    (answered(400, "SomethingElse"), StoreAway, "s3_checksum"),
    (answered(500, "InternalError"), StoreAway, "500 InternalError (told so)"),
    (answered(503, "SlowDown"), StoreAway, "503 SlowDown"),
    (answered(429, "TooManyRequests"), StoreAway, "429"),
    (EndpointConnectionError(endpoint_url="http://s3.example"), StoreAway, "http://s3.example"),
    (ConnectTimeoutError(endpoint_url="http://s3.example"), StoreAway, "http://s3.example"),
    (NoCredentialsError(), StoreAway, "s3_credentials_file"),
    (PartialCredentialsError(provider="env", cred_var="x"), StoreAway, "s3_credentials_file"),
    (TimeoutError(), StoreAway, "no answer within 7 s"),
    (ConnectionResetError(104, "Connection reset by peer"), StoreAway, "reset by peer"),
    (ClientPayloadError("not all came"), StoreAway, "not all came"),
    (ConnectionResetError(), StoreAway, "ConnectionResetError"),
]


@pytest.mark.parametrize(("error", "kind", "words"), MEANINGS, ids=lambda value: str(value)[:60])
def test_errors_say_whose_turn_it_is(error: Exception, kind: type[ObjectError], words: str) -> None:
    assert isinstance(error, FAILURES)
    found = meaning(error, "put a/b", "s3://bucket", 7.0)
    assert type(found) is kind
    assert words in str(found)
    assert str(found).startswith("s3://bucket: can't put a/b: ")
    assert "SECRET" not in str(found)
    assert "\n" not in str(found)


def test_long_answers_are_cut() -> None:
    found = meaning(answered(500, "InternalError", "<html>\n" * 1000), "list", "s3://bucket", 1.0)
    assert len(str(found)) < 400
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answered(403, "InvalidAccessKeyId"), True),
        (answered(403, "403"), True),
        (answered(400, "ExpiredToken"), True),
        (NoCredentialsError(), True),
        (answered(500, "InternalError"), False),
        (answered(404, "NoSuchKey"), False),
        (TimeoutError(), False),
    ],
    ids=str,
)
def test_only_refusals_send_for_other_credentials(error: Exception, expected: bool) -> None:
    assert is_about_credentials(error) is expected
