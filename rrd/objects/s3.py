"""Objects in a bucket of S3, or of anything that speaks like it.

What was put is verified by asking the store what it has (``s3_body.is_proven``). Where its answer proves
nothing, the object is read back: some stores give ETags and checksums that mean something else.

What is deleted is looked for again until nothing is found: objects, the old versions and delete markers of a
bucket that keeps them, and the parts of uploads that were cut off, which nobody sees and everybody pays for.

A store object outlives outages: connections and credentials are looked for anew as they are needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import google_crc32c

from rrd.config import Config
from rrd.errors import ObjectError, ObjectMissing, ObjectRejected, StoreAway
from rrd.objects.s3_body import FilePart, PartSums, Sent, is_proven, sent_in_parts, sent_whole
from rrd.objects.s3_client import CLIENT_AGE_MIN_S, S3Client
from rrd.objects.s3_errors import BeyondEnd, NotOffered
from rrd.objects.store import ObjectInfo, Removed, bucket_name

_T = TypeVar("_T")

_PARTS_MAX = 10_000  # S3's own limit.
_DELETES_AT_ONCE = 8
_TRIES = 3  # To delete the same things, where a listing lags behind.
_READ_BACK_BYTES = 4 << 20
_THREADS = 4


class S3Store:
    """``ObjectStore`` over aiobotocore. ``config``: the ``s3_*`` settings. Connects when it is first used.

    ``page_size``: of listings, 1 to 1000. ``client_age_min_s``: a client whose credentials are refused is not
    made anew before.
    """

    def __init__(
        self, config: Config, *, page_size: int = 1000, client_age_min_s: float = CLIENT_AGE_MIN_S
    ) -> None:
        self._config = config
        self._page_size = page_size
        prefix = config.s3_prefix.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self.name = bucket_name(config)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="rrd-s3")
        self._client = S3Client(config, self.name, self._threads, client_age_min_s=client_age_min_s)

    # ObjectStore

    async def put(self, key: str, path: str) -> None:
        size = (await self._in_thread(os.stat, path)).st_size
        # More parts than S3 takes would be of no use, so they get larger.
        part_size = max(self._config.s3_multipart_bytes, -(-size // _PARTS_MAX))
        if size <= part_size:
            sent = await self._put_whole(key, path, size)
        else:
            sent = await self._put_in_parts(key, path, size, part_size)
        try:
            head = await self._head(key)
        except ObjectMissing as error:
            raise ObjectRejected(f"{self.name}: {key} was put, and is not there") from error
        if not is_proven(head, sent, self._config.s3_checksum):
            await self._read_back(key, sent)

    async def read(self, key: str, offset: int, size: int) -> bytes:
        what = f"read {size} bytes of {key}"
        if size <= 0:
            await self.size(key)
            return b""
        try:
            answer = await self._client.call(
                what,
                "get_object",
                size=size,
                Key=self._prefix + key,
                Range=f"bytes={offset}-{offset + size - 1}",
            )
        except BeyondEnd:
            return b""
        data: bytes = answer["Body"]
        if not str(answer.get("ContentRange", "")).startswith(f"bytes {offset}-") or len(data) > size:
            raise StoreAway(f"{self.name}: can't {what}: the server ignores ranges")
        return data

    async def size(self, key: str) -> int:
        head = await self._head(key)
        return int(head["ContentLength"])

    async def list(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        token: dict[str, Any] = {}
        while True:
            page = await self._client.call(
                "list", "list_objects_v2", Prefix=self._prefix + prefix, MaxKeys=self._page_size, **token
            )
            for row in page.get("Contents", ()):
                modified_ms = int(row["LastModified"].timestamp() * 1000)
                yield ObjectInfo(row["Key"].removeprefix(self._prefix), row["Size"], modified_ms)
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, key: str) -> None:
        await self._remove(self._prefix + key, exactly=True)

    async def delete_prefix(self, prefix: str) -> Removed:
        if not prefix:
            raise ValueError("an empty prefix is everything")
        return await self._remove(self._prefix + prefix, exactly=False)

    async def check(self) -> None:
        await self._client.call("list", "list_objects_v2", Prefix=self._prefix, MaxKeys=1)

    async def close(self) -> None:
        await self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Putting

    async def _put_whole(self, key: str, path: str, size: int) -> Sent:
        algorithm = self._config.s3_checksum
        async with self._part(path, 0, size) as part:
            await self._client.call(
                f"put {key}",
                "put_object",
                size=size,
                Key=self._prefix + key,
                Body=part,
                ContentLength=size,
                **self._stored_as(),
                **part.checksum(algorithm),
            )
            return sent_whole(part, algorithm)

    async def _put_in_parts(self, key: str, path: str, size: int, part_size: int) -> Sent:
        target: dict[str, Any] = {"Key": self._prefix + key}
        # What is left of an upload that was cut off, by a crash say: this one takes its place.
        await self._abort_uploads(self._prefix + key, exactly=True)
        arguments = target | self._stored_as()
        algorithm = self._config.s3_checksum
        if algorithm != "none":
            arguments["ChecksumAlgorithm"] = algorithm.upper()
        if algorithm == "crc32c":
            arguments["ChecksumType"] = "FULL_OBJECT"
        begun = await self._client.call(f"begin to put {key}", "create_multipart_upload", **arguments)
        upload = target | {"UploadId": begun["UploadId"]}
        try:
            return await self._put_parts(path, size, part_size, upload)
        except BaseException:
            # Also when cancelled. If it can't be done now, the next put or delete of the key does it.
            with contextlib.suppress(ObjectError, asyncio.CancelledError):
                await asyncio.shield(self._abort(_Row(upload["Key"], upload["UploadId"])))
            raise

    async def _put_parts(self, path: str, size: int, part_size: int, upload: dict[str, str]) -> Sent:
        algorithm = self._config.s3_checksum
        sums: list[PartSums] = []
        rows: list[dict[str, Any]] = []
        crc = 0
        for number, offset in enumerate(range(0, size, part_size), start=1):
            async with self._part(path, offset, min(part_size, size - offset), crc) as part:
                checksum = part.checksum(algorithm)
                answer = await self._client.call(
                    f"put part {number} of {upload['Key']}",
                    "upload_part",
                    size=part.size,
                    Body=part,
                    ContentLength=part.size,
                    PartNumber=number,
                    **upload,
                    **checksum,
                )
                sums.append(PartSums(part.md5, part.sha256))
                crc = part.crc_so_far
            # S3 wants the parts' checksums again where the whole's is made of them.
            again = checksum if algorithm == "sha256" else {}
            rows.append({"ETag": answer["ETag"], "PartNumber": number, **again})
        sent = sent_in_parts(sums, size, crc, algorithm)
        whole = {}
        if algorithm == "crc32c":
            whole = {"ChecksumCRC32C": sent.checksum, "ChecksumType": "FULL_OBJECT"}
        # A store may copy the parts together before it answers, so the deadline is that of all bytes.
        await self._client.call(
            f"finish putting {upload['Key']}",
            "complete_multipart_upload",
            size=size,
            MultipartUpload={"Parts": rows},
            **upload,
            **whole,
        )
        return sent

    def _stored_as(self) -> dict[str, Any]:
        """Return the arguments that say what an object is, and how it is to be kept."""
        arguments: dict[str, Any] = {"ContentType": "application/zstd"}  # RFC 8878, 7.1
        if self._config.s3_storage_class:
            arguments["StorageClass"] = self._config.s3_storage_class
        if self._config.s3_encryption:
            arguments["ServerSideEncryption"] = self._config.s3_encryption
        if self._config.s3_kms_key:
            arguments["SSEKMSKeyId"] = self._config.s3_kms_key
        return arguments

    @contextlib.asynccontextmanager
    async def _part(self, path: str, offset: int, size: int, crc_before: int = 0) -> AsyncIterator[FilePart]:
        part = await self._in_thread(FilePart, path, offset, size, crc_before)
        try:
            yield part
        finally:
            part.close()

    async def _head(self, key: str) -> dict[str, Any]:
        mode: dict[str, Any] = {} if self._config.s3_checksum == "none" else {"ChecksumMode": "ENABLED"}
        try:
            return await self._client.call(f"look up {key}", "head_object", Key=self._prefix + key, **mode)
        except ObjectMissing:
            # An answer to HEAD has no body, so it may be the bucket that is missing.
            await self.check()
            raise

    async def _read_back(self, key: str, sent: Sent) -> None:
        """Raise ``ObjectRejected`` unless the store gives back what was sent."""
        crc = size = 0
        while data := await self.read(key, size, _READ_BACK_BYTES):
            crc = google_crc32c.extend(crc, data)
            size += len(data)
        if (size, crc) != (sent.size, sent.crc32c):
            raise ObjectRejected(
                f"{self.name}: {key} holds {size} bytes of CRC-32C {crc:08x}, "
                f"and {sent.size} bytes of {sent.crc32c:08x} were put"
            )

    # Removing

    async def _remove(self, prefix: str, *, exactly: bool) -> Removed:
        """Delete until nothing is found. ``prefix``: with the store's own; ``exactly``: of that key alone."""
        await self._abort_uploads(prefix, exactly=exactly)
        objects = size = 0
        plain: set[str] = set()
        async for rows in self._until_none(lambda: self._versions(prefix, exactly=exactly)):
            # The version "null" goes by a plain delete first: where no versions are kept the right to delete
            # is enough for that. In a bucket that keeps them it makes a marker, and both are found next time.
            if not any(row.key in plain for row in rows):
                plain.clear()
            halves = {row for row in rows if row.is_null and row.key not in plain}
            await _each([row._replace(version="") if row in halves else row for row in rows], self._delete)
            new = [row for row in rows if not row.is_marker and not (row.is_null and row.key in plain)]
            objects += len(new)
            size += sum(row.size for row in new)
            plain |= {row.key for row in halves}
        return Removed(objects, size)

    async def _until_none(
        self, first: Callable[[], Awaitable[Sequence[_Row]]]
    ) -> AsyncIterator[Sequence[_Row]]:
        """Yield first pages until one is empty, for whoever deletes them.

        Pages after one that was deleted are different things to different servers.
        """
        last: Sequence[_Row] = ()
        tries_left = _TRIES
        while rows := await first():
            tries_left = tries_left - 1 if rows == last else _TRIES
            if not tries_left:
                raise StoreAway(f"{self.name}: {rows[0].key} comes back each time it is deleted")
            yield rows
            last = rows

    async def _versions(self, prefix: str, *, exactly: bool) -> Sequence[_Row]:
        """Return the first page of what is to be deleted; objects alone where the store has no versions."""
        arguments: dict[str, Any] = {"Prefix": prefix, "MaxKeys": self._page_size}
        try:
            page = await self._client.call("list versions", "list_object_versions", **arguments)
        except NotOffered:
            page = await self._client.call("list", "list_objects_v2", **arguments)
        rows = [
            *(_row(row) for name in ("Versions", "Contents") for row in page.get(name, ())),
            *(_row(row, is_marker=True) for row in page.get("DeleteMarkers", ())),
        ]
        # A key comes before all longer ones that begin with it, so one page is enough to find it.
        return [row for row in rows if not exactly or row.key == prefix]

    async def _delete(self, row: _Row) -> None:
        version: dict[str, Any] = {"VersionId": row.version} if row.version else {}
        with contextlib.suppress(ObjectMissing):
            await self._client.call(f"delete {row.key}", "delete_object", Key=row.key, **version)

    async def _abort_uploads(self, prefix: str, *, exactly: bool) -> None:
        """Throw away unfinished uploads."""
        with contextlib.suppress(NotOffered):
            async for rows in self._until_none(lambda: self._uploads(prefix, exactly=exactly)):
                await _each(rows, self._abort)

    async def _uploads(self, prefix: str, *, exactly: bool) -> Sequence[_Row]:
        page = await self._client.call(
            "list unfinished uploads", "list_multipart_uploads", Prefix=prefix, MaxUploads=self._page_size
        )
        rows = [_Row(row["Key"], row["UploadId"]) for row in page.get("Uploads", ())]
        return [row for row in rows if not exactly or row.key == prefix]

    async def _abort(self, upload: _Row) -> None:
        with contextlib.suppress(ObjectMissing):
            await self._client.call(
                f"give up putting {upload.key}",
                "abort_multipart_upload",
                Key=upload.key,
                UploadId=upload.version,
            )

    async def _in_thread(self, do: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, do, *arguments)


class _Row(NamedTuple):
    """Something that can be deleted: a version of an object, a delete marker, or an unfinished upload."""

    key: str
    version: str
    """Of an upload its id. Empty where the store knows none."""
    size: int = 0
    is_marker: bool = False

    @property
    def is_null(self) -> bool:
        """Written while the bucket kept no versions."""
        return self.version == "null" and not self.is_marker


def _row(row: dict[str, Any], *, is_marker: bool = False) -> _Row:
    return _Row(row["Key"], row.get("VersionId", ""), row.get("Size", 0), is_marker)


async def _each(rows: Sequence[_T], do: Callable[[_T], Awaitable[None]]) -> None:
    """``do`` it for each, some at once. Raises the first error when all have ended."""
    turns = asyncio.Semaphore(_DELETES_AT_ONCE)

    async def one(row: _T) -> None:
        async with turns:
            await do(row)

    for outcome in await asyncio.gather(*map(one, rows), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
