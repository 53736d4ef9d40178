"""What is sent to S3: parts of a file, what they should add up to, and whether that is what arrived.

``FilePart`` is a range of a file, with its hashes known before it is sent: a request's signature covers the
SHA-256 of its body, and computing that on the loop would hold up everybody for as long as it takes.

``is_proven`` compares what a store says of an object with what was sent. Of what stores report, the ETag says
most: of an object that isn't encrypted with a key of its own it is the MD5 of the bytes that arrived, and of
one in parts the MD5 of the parts' MD5s and their number (Amazon S3 User Guide, "Checking object integrity").
Checksums in ``x-amz-checksum-*`` are the store's own word on S3 itself, where encrypted objects have other
ETags; elsewhere they may be what the sender claimed, so an ETag that looks like an MD5 goes before them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import google_crc32c

from rrd.disk import files

Algorithm = Literal["crc32c", "sha256", "none"]

FIELDS = {"crc32c": "ChecksumCRC32C", "sha256": "ChecksumSHA256"}
"""What the checksum of each algorithm is called in requests and answers."""

_READ_BYTES = 1 << 20
_MD5_SHAPED = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


class FilePart(io.RawIOBase):
    """``size`` bytes of a file from ``offset`` on, as a file to read from that botocore and aiohttp can send.

    ``crc_before``: the CRC-32C of what comes before it in an object that is sent in parts. Made in a thread,
    since it reads all of its bytes: raises ``OSError``, and ``EOFError`` if the file is shorter.
    ``close`` waits for a read in another thread, so that none ever meets a handle that is somebody else's.
    """

    def __init__(self, path: str, offset: int, size: int, crc_before: int = 0) -> None:
        super().__init__()
        self.size = size
        self.crc_so_far = crc_before
        """CRC-32C of the object up to the end of this part."""
        self._offset = offset
        self._at = 0
        self._handle = files.open_handle(path)
        self._lock = threading.Lock()
        try:
            self._hash()
        except BaseException:
            self.close()
            raise

    def _hash(self) -> None:
        crc, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        while data := self.read(_READ_BYTES):
            crc = google_crc32c.extend(crc, data)
            self.crc_so_far = google_crc32c.extend(self.crc_so_far, data)
            sha256.update(data)
            md5.update(data)
        if self._at != self.size:
            raise EOFError(f"the file ends {self.size - self._at} bytes too early")
        self._at = 0
        self.crc32c = crc
        self.sha256 = sha256.digest()
        self.md5 = md5.digest()

    def checksum(self, algorithm: Algorithm) -> dict[str, str]:
        """Return the argument that sends the checksum along; nothing for ``none``."""
        if algorithm == "none":
            return {}
        value = _big_endian(self.crc32c) if algorithm == "crc32c" else self.sha256
        return {FIELDS[algorithm]: _base64(value)}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self._at)
        if size is None or size < 0 or size > left:
            size = left
        with self._lock:
            if self._handle < 0:
                raise ValueError("read of a closed part")
            data = os.pread(self._handle, size, self._offset + self._at)
        self._at += len(data)
        return data

    def close(self) -> None:
        # Also called by io's own __del__, for an instance whose __init__ didn't get far.
        if (lock := getattr(self, "_lock", None)) is not None:
            with lock:
                if self._handle >= 0:
                    os.close(self._handle)
                    self._handle = -1
        super().close()


class Sent(NamedTuple):
    """What a store should have got."""

    size: int
    crc32c: int
    """Of the whole object."""
    etag: str
    checksum: str
    """As the store would report it; "" if none was sent."""


def sent_whole(part: FilePart, algorithm: Algorithm) -> Sent:
    """Sum up an object that was sent in one request."""
    checksum = part.checksum(algorithm).get(FIELDS.get(algorithm, ""), "")
    return Sent(part.size, part.crc32c, part.md5.hex(), checksum)


class PartSums(NamedTuple):
    """What stays of a part after it was sent."""

    md5: bytes
    sha256: bytes


def sent_in_parts(parts: Sequence[PartSums], size: int, crc32c: int, algorithm: Algorithm) -> Sent:
    """Sum up an object that was sent in parts. ``crc32c``: of all of it."""
    md5s = b"".join(part.md5 for part in parts)
    etag = f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(parts)}"
    checksum = ""
    if algorithm == "crc32c":
        checksum = _base64(_big_endian(crc32c))
    elif algorithm == "sha256":
        digests = b"".join(part.sha256 for part in parts)
        checksum = f"{_base64(hashlib.sha256(digests).digest())}-{len(parts)}"
    return Sent(size, crc32c, etag, checksum)


def is_proven(head: Mapping[str, Any], sent: Sent, algorithm: Algorithm) -> bool:
    """Tell if a HEAD answer proves that the object is what was sent.

    If not, it may be all the same: a store may report no checksum, and ETags that only look like MD5s.
    Reading it tells.
    """
    if head["ContentLength"] != sent.size:
        return False
    etag = str(head.get("ETag", "")).strip('"').lower()
    if _MD5_SHAPED.fullmatch(etag) and not str(head.get("ServerSideEncryption", "")).startswith("aws:kms"):
        return etag == sent.etag
    return bool(sent.checksum) and head.get(FIELDS[algorithm]) == sent.checksum


def _big_endian(crc: int) -> bytes:
    return crc.to_bytes(4, "big")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
