"""The S3 store when things go wrong: damage on the way, bad answers, silence, death; and what is left."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec
import pytest

from rrd.config import MIB, Config
from rrd.errors import ObjectMissing, ObjectRejected, StoreAway
from rrd.objects.s3 import S3Store
from rrd.objects.store import Removed
from tests.harness import eventually, until
from tests.objects.conftest import MakeFile, some_bytes
from tests.objects.proxy import (
    MARK,
    Answer,
    Drop,
    Fault,
    FlipUp,
    LostAnswers,
    OddETags,
    Proxy,
    Silence,
    proxy,
)
from tests.s3.server import S3Server

pytestmark = pytest.mark.table

PART = 5 * MIB
SHORT_S = 3
GIVE_UP_S = 60  # A call that is bounded by SHORT_S and has not ended by then hangs.
WHOLE, PARTS = 300_000, PART + 300_000


def settings_of(server: S3Server, prefix: str, **more: Any) -> Config:
    values: dict[str, Any] = {"s3_prefix": prefix, "s3_multipart_bytes": PART, "s3_timeout_s": 60} | more
    return msgspec.convert(server.settings("recordings") | values, Config)


@contextlib.asynccontextmanager
async def store_at(
    config: Config, *, page_size: int = 1000, client_age_min_s: float = 10
) -> AsyncIterator[S3Store]:
    store = S3Store(config, page_size=page_size, client_age_min_s=client_age_min_s)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def between(server: S3Server) -> AsyncIterator[Proxy]:
    async with proxy(server.port) as between:
        yield between


@pytest.fixture
async def store(server: S3Server, between: Proxy, prefix: str) -> AsyncIterator[S3Store]:
    """A store behind ``between``, which waits for ``SHORT_S`` (and a bit more for a part)."""
    config = settings_of(server, prefix, s3_endpoint=between.endpoint, s3_timeout_s=SHORT_S)
    async with store_at(config) as store:
        yield store


def data_of(size: int) -> bytes:
    return some_bytes(size - len(MARK)) + MARK


def credentials_of(server: S3Server) -> str:
    return Path(server.settings("recordings")["s3_credentials_file"]).read_text()


def fill(path: str, text: str) -> None:
    Path(path).write_text(text)


async def keys(store: S3Store, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


def calls_of(store: S3Store, path: str) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "put": lambda: store.put("a/c", path),
        "read": lambda: store.read("a/b", 10, 100_000),
        "size": lambda: store.size("a/b"),
        "list": lambda: keys(store),
        "delete": lambda: store.delete("a/c"),
        "delete_prefix": lambda: store.delete_prefix("a/c"),
        "check": store.check,
    }


async def expect_away(store: S3Store, path: str) -> list[str]:
    """Call everything at once; return the messages."""
    calls = calls_of(store, path)
    async with asyncio.timeout(GIVE_UP_S):
        outcomes = await asyncio.gather(*(call() for call in calls.values()), return_exceptions=True)
    for name, outcome in zip(calls, outcomes, strict=True):
        assert isinstance(outcome, StoreAway), (name, outcome)
    return [str(outcome) for outcome in outcomes]


async def expect_good(store: S3Store, path: str, there: bytes) -> None:
    """Call everything: the object ``a/b`` is ``there``."""

    async def all_well() -> bool:
        with contextlib.suppress(StoreAway):
            await store.check()
            return True
        return False

    # A server that was frozen has a second's worth of requests to look at first.
    await eventually(all_well, what="the server to be back", deadline_s=GIVE_UP_S)
    await store.put("a/c", path)
    assert await store.read("a/b", 0, len(there)) == there
    assert await store.size("a/b") == len(there)
    assert await keys(store, "a/") == ["a/b", "a/c"]
    await store.delete("a/c")
    assert await store.delete_prefix("a/c") == Removed(0, 0)


# Damage


@pytest.mark.parametrize("size", [WHOLE, PARTS])
async def test_a_byte_that_changed_on_its_way_is_noticed(
    store: S3Store, between: Proxy, make_file: MakeFile, size: int
) -> None:
    data = data_of(size)
    path = make_file(data)
    between.fault = FlipUp()
    with pytest.raises(ObjectRejected):
        await store.put("a/b", path)
    between.fault = None
    await store.put("a/b", path)
    assert await store.read("a/b", 0, size) == data


@pytest.mark.parametrize("algorithm", ["crc32c", "sha256", "none"])
@pytest.mark.parametrize("size", [1000, PART + 1000])
async def test_each_checksum_setting_stores_what_is_put(
    server: S3Server, prefix: str, make_file: MakeFile, algorithm: str, size: int
) -> None:
    data = some_bytes(size)
    async with store_at(settings_of(server, prefix, s3_checksum=algorithm)) as store:
        await store.put("a/b", make_file(data))
        assert await store.read("a/b", 0, size) == data


@pytest.mark.parametrize("algorithm", ["crc32c", "sha256", "none"])
async def test_checksum_and_signed_hash_go_along(
    server: S3Server, between: Proxy, prefix: str, make_file: MakeFile, algorithm: str
) -> None:
    config = settings_of(server, prefix, s3_endpoint=between.endpoint, s3_checksum=algorithm)
    data = some_bytes(1000)
    async with store_at(config) as store:
        await store.put("a/b", make_file(data))
    [head] = [head.decode() for head in between.heads if head.startswith(b"PUT ")]
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    sums = {name: value for name, value in headers.items() if name.startswith("x-amz-checksum-")}
    of = {
        "crc32c": google_crc32c.value(data).to_bytes(4, "big"),
        "sha256": hashlib.sha256(data).digest(),
    }
    expected = (
        {f"x-amz-checksum-{algorithm}": base64.b64encode(of[algorithm]).decode()} if algorithm in of else {}
    )
    assert sums == {name: value.lower() for name, value in expected.items()}
    assert headers["x-amz-content-sha256"] == hashlib.sha256(data).hexdigest()
    assert "transfer-encoding" not in headers
    assert "x-amz-trailer" not in headers


@pytest.mark.s3
@pytest.mark.parametrize("algorithm", ["crc32c", "sha256"])
async def test_a_server_that_checks_refuses_a_wrong_checksum(
    swift_server: S3Server, prefix: str, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    """The hash that is signed is right here, so it is our checksum that the server looks at."""
    monkeypatch.setattr(
        "rrd.objects.s3_body.FilePart.checksum",
        lambda part, _: {
            "crc32c": {"ChecksumCRC32C": base64.b64encode(b"\0\0\0\1").decode()},
            "sha256": {"ChecksumSHA256": base64.b64encode(bytes(32)).decode()},
        }[algorithm],
    )
    async with store_at(settings_of(swift_server, prefix, s3_checksum=algorithm)) as store:
        with pytest.raises(ObjectRejected, match="BadDigest"):
            await store.put("a/b", make_file(b"x" * 1000))
        assert await keys(store) == []


@pytest.mark.parametrize("algorithm", ["crc32c", "none"])
async def test_a_store_whose_answers_prove_nothing_is_read_back(
    server: S3Server, between: Proxy, prefix: str, make_file: MakeFile, algorithm: str
) -> None:
    config = settings_of(server, prefix, s3_endpoint=between.endpoint, s3_checksum=algorithm)
    between.fault = OddETags()
    async with store_at(config) as store:
        await store.put("a/b", make_file(data_of(WHOLE)))
        assert [head for head in between.heads if head.startswith(b"GET ")]


# Trouble


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, "InternalError"),
        Answer(503, "SlowDown"),
        Answer(503, "ServiceUnavailable"),
        Answer(429, "TooManyRequests"),
        Answer(403, "AccessDenied"),
        Silence(),
        LostAnswers(),
        Drop(is_up=True, after=0),
        Drop(is_up=False, after=100),
    ],
    ids=lambda fault: "-".join(map(str, (type(fault).__name__, *fault))),
)
async def test_trouble_on_the_way_is_store_away_and_passes(
    server: S3Server, between: Proxy, prefix: str, make_file: MakeFile, fault: Fault
) -> None:
    data = data_of(WHOLE)
    path = make_file(data)
    # An answer is waited for, twice, however busy the machine is; what gives none is given up soon.
    patience_s = GIVE_UP_S // 2 if isinstance(fault, Answer) else SHORT_S
    config = settings_of(server, prefix, s3_endpoint=between.endpoint, s3_timeout_s=patience_s)
    async with store_at(config) as store:
        await store.put("a/b", path)
        between.fault = fault
        messages = await expect_away(store, path)
        if isinstance(fault, Answer):
            # The answer to a HEAD has no body that could hold a code.
            assert [
                message for message in messages if fault.code not in message and "look up" not in message
            ] == []
        between.fault = None
        await expect_good(store, path, data)


@pytest.mark.parametrize("size", [WHOLE, PARTS])
@pytest.mark.parametrize("after", [1000, 200_000])
async def test_an_upload_that_is_cut_off_is_store_away_and_leaves_nothing(
    server: S3Server, store: S3Store, between: Proxy, prefix: str, make_file: MakeFile, size: int, after: int
) -> None:
    data = data_of(size)
    path = make_file(data)
    between.fault = Drop(is_up=True, after=after)
    with pytest.raises(StoreAway):
        await store.put("a/b", path)
    between.fault = None
    await store.put("a/b", path)
    assert await store.read("a/b", 0, size) == data
    assert await server.all_versions("recordings", prefix) == [f"{prefix}/a/b"]


async def test_a_download_that_is_cut_off_is_store_away(
    store: S3Store, between: Proxy, make_file: MakeFile
) -> None:
    data = data_of(WHOLE)
    await store.put("a/b", make_file(data))
    between.fault = Drop(is_up=False, after=150_000)
    with pytest.raises(StoreAway):
        await store.read("a/b", 0, WHOLE)
    assert await store.read("a/b", 0, 1000) == data[:1000]
    between.fault = None
    assert await store.read("a/b", 0, WHOLE) == data


# Outages


async def test_a_frozen_server_is_store_away_until_it_goes_on(
    server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    data = data_of(PARTS)
    path = make_file(data)
    async with store_at(settings_of(server, prefix, s3_timeout_s=SHORT_S)) as store:
        await store.put("a/b", path)
        server.stop()
        try:
            messages = await expect_away(store, path)
        finally:
            server.cont()
        assert all("no answer within" in message for message in messages)
        await expect_good(store, path, data)


async def test_a_server_that_was_killed_is_store_away_until_it_is_back(
    server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    data = data_of(WHOLE)
    path = make_file(data)
    async with store_at(settings_of(server, prefix, s3_timeout_s=30)) as store:
        await store.put("a/b", path)
        server.kill()
        try:
            messages = await expect_away(store, path)
        finally:
            await server.start()
        assert all("Could not connect" in message for message in messages)
        if server.kind == "moto":  # It holds all in memory.
            await store.put("a/b", path)
        await expect_good(store, path, data)


@pytest.mark.s3
async def test_a_kill_during_puts_loses_nothing_that_was_put(
    real_server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    server = real_server
    path = make_file(data_of(WHOLE))
    done: list[str] = []
    async with store_at(settings_of(server, prefix, s3_timeout_s=5)) as store:

        async def put_on(name: str) -> None:
            with contextlib.suppress(StoreAway):
                for number in range(1000):
                    await store.put(f"{name}/{number:04}", path)
                    done.append(f"{name}/{number:04}")

        tasks = [asyncio.create_task(put_on(name)) for name in "abcd"]
        await until(lambda: len(done) >= 20, what="20 puts")
        server.kill()
        await asyncio.gather(*tasks)
        await server.start()
        for key in done:
            assert await store.size(key) == WHOLE
        assert set(done) <= set(await keys(store))


# Wrong settings


async def test_a_bucket_that_is_not_there_is_store_away_with_what_to_do(
    server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    async with store_at(settings_of(server, prefix, s3_bucket="nowhere-at-all")) as store:
        for message in await expect_away(store, make_file(b"x")):
            assert "s3_bucket" in message


@pytest.mark.s3
@pytest.mark.parametrize("wrong", ["key", "secret"])
async def test_wrong_credentials_are_told_and_looked_up_again(
    real_server: S3Server,
    prefix: str,
    wrong: str,
    make_file: MakeFile,
) -> None:
    server = real_server
    config = settings_of(server, prefix)
    good = credentials_of(server)
    bad = good.replace(server.access_key if wrong == "key" else server.secret_key, "wrong:wrong")
    path = make_file(bad.encode())
    async with store_at(
        msgspec.structs.replace(config, s3_credentials_file=path), client_age_min_s=0
    ) as store:
        for message in await expect_away(store, make_file(b"x")):
            assert "credentials" in message
            assert server.secret_key not in message
        fill(path, good)
        await store.put("a/b", make_file(b"x"))


async def test_credentials_that_come_later_are_found(
    server: S3Server,
    prefix: str,
    make_file: MakeFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A file that is named is the only place: the environment's are others, perhaps of another account.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-somebody-else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-somebody-else")
    config = settings_of(server, prefix)
    path = make_file(b"[default]\n")
    async with store_at(
        msgspec.structs.replace(config, s3_credentials_file=path), client_age_min_s=0
    ) as store:
        for message in await expect_away(store, make_file(b"x")):
            assert "s3_credentials_file" in message
        fill(path, credentials_of(server))
        await store.put("a/b", make_file(b"x"))


async def test_without_a_file_credentials_come_from_the_environment(
    server: S3Server, prefix: str, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    async with store_at(settings_of(server, prefix, s3_credentials_file="")) as store:
        await store.put("a/b", make_file(b"x"))
        assert await store.read("a/b", 0, 1) == b"x"


@pytest.mark.s3
async def test_a_certificate_of_nobody_we_trust_is_store_away(
    ceph_server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    async with store_at(settings_of(ceph_server, prefix, s3_endpoint=ceph_server.tls_endpoint)) as store:
        for message in await expect_away(store, make_file(b"x")):
            assert "certificate" in message.lower()


async def test_secrets_are_never_logged(
    server: S3Server, store: S3Store, between: Proxy, make_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = make_file(data_of(WHOLE))
    await store.put("a/b", path)
    between.fault = Answer(403, "SignatureDoesNotMatch")
    messages = await expect_away(store, path)
    for text in (caplog.text, *messages):
        assert server.secret_key not in text
        assert "Signature=" not in text


# Versions and unfinished uploads


@pytest.fixture
async def versioned(server: S3Server, prefix: str) -> AsyncIterator[S3Store]:
    if not server.has_versions:
        pytest.skip(f"{server.kind} keeps no versions")
    config = settings_of(server, prefix, s3_bucket="versioned")
    async with store_at(config, page_size=3) as store:
        yield store


async def test_old_versions_go_with_the_object(
    server: S3Server, versioned: S3Store, prefix: str, make_file: MakeFile
) -> None:
    for number in (1, 2, 3, 4):
        await versioned.put("a/b", make_file(b"x" * number))
        await versioned.put("a/bb", make_file(b"y"))
    assert len(await server.all_versions("versioned", prefix)) == 8
    await versioned.delete("a/b")
    assert await server.all_versions("versioned", prefix) == [f"{prefix}/a/bb"] * 4
    assert await versioned.delete_prefix("a/") == Removed(4, 4)
    assert await server.all_versions("versioned", prefix) == []


async def test_objects_that_were_deleted_by_others_go_for_good(
    server: S3Server, versioned: S3Store, prefix: str, make_file: MakeFile
) -> None:
    async with server.client() as client:
        for key in ("a/b", "a/c"):
            await versioned.put(key, make_file(b"xyz"))
            await client.delete_object(Bucket="versioned", Key=f"{prefix}/{key}")
    assert await keys(versioned) == []
    assert len(await server.all_versions("versioned", prefix)) == 4
    with pytest.raises(ObjectMissing):
        await versioned.size("a/b")
    assert await versioned.delete_prefix("a/") == Removed(2, 6)
    assert await server.all_versions("versioned", prefix) == []


async def test_versions_of_a_bucket_that_changed_its_mind_go(
    server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    if not server.has_versions:
        pytest.skip(f"{server.kind} keeps no versions")
    bucket = f"mind-{prefix}"
    await server.make_bucket(bucket)
    async with (
        store_at(settings_of(server, prefix, s3_bucket=bucket), page_size=2) as store,
        server.client() as client,
    ):
        for status in ("", "Enabled", "Suspended", "Enabled"):
            if status:
                await client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
            for key in ("a/b", "a/c", "a/d"):
                await store.put(key, make_file(b"xyz"))
        there = len(await server.all_versions(bucket))
        assert there >= 6
        removed = await store.delete_prefix("a/")
        assert await server.all_versions(bucket) == []
        assert removed == Removed(there, there * 3)
        await client.delete_bucket(Bucket=bucket)


async def test_unfinished_uploads_go_with_their_prefix(
    server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    async with (
        store_at(settings_of(server, prefix), page_size=2) as store,
        server.client() as client,
    ):
        for key in ("a/b", "a/b", "a/b", "a/bb", "c"):
            target = {"Bucket": "recordings", "Key": f"{prefix}/{key}"}
            upload = await client.create_multipart_upload(**target)
            await client.upload_part(**target, UploadId=upload["UploadId"], PartNumber=1, Body=b"x")
        await store.delete("a/b")
        assert await server.all_versions("recordings", prefix) == [f"{prefix}/a/bb", f"{prefix}/c"]
        assert await store.delete_prefix("a/") == Removed(0, 0)
        assert await server.all_versions("recordings", prefix) == [f"{prefix}/c"]
        # A new put takes the place of one that was cut off.
        await store.put("c", make_file(some_bytes(PART + 1)))
        assert await server.all_versions("recordings", prefix) == [f"{prefix}/c"]


async def test_a_put_that_is_cancelled_gives_up_its_upload(
    server: S3Server, store: S3Store, between: Proxy, prefix: str, make_file: MakeFile
) -> None:
    path = make_file(data_of(3 * PART))
    put = asyncio.create_task(store.put("a/b", path))
    await until(lambda: any(b"partNumber=2" in head for head in between.heads), what="the second part")
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert await server.all_versions("recordings", prefix) == []


# Sizes


async def test_settings_of_how_to_keep_objects_are_sent(
    moto_server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    config = settings_of(moto_server, prefix, s3_storage_class="STANDARD_IA", s3_encryption="AES256")
    async with store_at(config) as store, moto_server.client() as client:
        for size in (1000, PART + 1):
            await store.put("a/b", make_file(some_bytes(size)))
            head = await client.head_object(Bucket="recordings", Key=f"{prefix}/a/b")
            assert head["StorageClass"] == "STANDARD_IA"
            assert head["ServerSideEncryption"] == "AES256"
            assert head["ContentType"] == "application/zstd"


async def test_an_object_encrypted_with_a_key_of_its_own_is_verified(
    moto_server: S3Server, prefix: str, make_file: MakeFile
) -> None:
    config = settings_of(moto_server, prefix, s3_encryption="aws:kms", s3_kms_key="a-key")
    data = some_bytes(1000)
    async with store_at(config) as store:
        await store.put("a/b", make_file(data))
        assert await store.read("a/b", 0, 1000) == data


@pytest.mark.s3
async def test_a_listing_of_more_than_a_real_page_is_whole(real_server: S3Server, prefix: str) -> None:
    server = real_server
    expected = [f"t/{number:05}" for number in range(1100)]
    turns = asyncio.Semaphore(16)
    async with store_at(settings_of(server, prefix)) as store, server.client() as client:

        async def put(key: str) -> None:
            async with turns:
                await client.put_object(Bucket="recordings", Key=f"{prefix}/{key}", Body=b"x")

        await asyncio.gather(*map(put, expected))
        assert await keys(store) == expected
        assert await store.delete_prefix("t/") == Removed(1100, 1100)
        assert await keys(store) == []
