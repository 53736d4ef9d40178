"""Parts of files as they are sent, and what proves that they arrived."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.objects.s3_body import Algorithm, FilePart, PartSums, Sent, is_proven, sent_in_parts, sent_whole
from tests.objects.conftest import some_bytes

DATA = some_bytes(100_000)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("body") / "file"
    path.write_bytes(DATA)
    return str(path)


@given(
    offset=st.integers(0, len(DATA)),
    size=st.integers(0, len(DATA)),
    moves=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60_000), st.integers(-1, 70_000))),
)
def test_a_part_reads_as_those_bytes_in_memory(
    path: str, offset: int, size: int, moves: list[tuple[int, int, int]]
) -> None:
    size = min(size, len(DATA) - offset)
    part, memory = FilePart(path, offset, size), io.BytesIO(DATA[offset : offset + size])
    with part:
        for whence, by, count in moves:
            back = -by if whence == 2 and by <= size else by
            if whence != 2 or by <= size:
                assert part.seek(back, whence) == memory.seek(back, whence)
            assert part.read(count) == memory.read(count)
            assert part.tell() == memory.tell()


def test_hashes_of_parts_are_those_of_their_bytes(path: str) -> None:
    crc = 0
    for offset, size in ((0, 30_000), (30_000, 1), (30_001, 0), (30_001, 69_999)):
        data = DATA[offset : offset + size]
        with FilePart(path, offset, size, crc) as part:
            assert part.crc32c == google_crc32c.value(data)
            assert part.sha256 == hashlib.sha256(data).digest()
            assert part.md5 == hashlib.md5(data).digest()
            crc = part.crc_so_far
    assert crc == google_crc32c.value(DATA)


def test_a_file_that_is_too_short_is_noticed(path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(EOFError):
        FilePart(path, 10, len(DATA))
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_waits_for_a_read_and_is_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = FilePart(path, 0, 100)
    reading, go_on = threading.Event(), threading.Event()
    real = os.pread

    def slow(handle: int, size: int, offset: int) -> bytes:
        reading.set()
        go_on.wait(20)
        return real(handle, size, offset)

    monkeypatch.setattr(os, "pread", slow)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(part.read(100)))
    reader.start()
    assert reading.wait(20)
    closer = threading.Thread(target=part.close)
    closer.start()
    go_on.set()
    reader.join(20)
    closer.join(20)
    assert got == [DATA[:100]]
    part.close()
    with pytest.raises(ValueError, match="closed"):
        part.read(1)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


MD5 = hashlib.md5(DATA).hexdigest()
CRC = _b64(google_crc32c.value(DATA).to_bytes(4, "big"))
SHA = _b64(hashlib.sha256(DATA).digest())
OTHER = "0" * 32

# What is said of DATA → (algorithm, HEAD's answer, is it proven?)
ANSWERS: dict[str, tuple[Algorithm, dict[str, Any], bool]] = {
    "the MD5 as the ETag": ("none", {"ETag": f'"{MD5}"'}, True),
    "the MD5 in capitals without quotes": ("none", {"ETag": MD5.upper()}, True),
    "another MD5": ("none", {"ETag": f'"{OTHER}"'}, False),
    "another MD5 beside a checksum that may be our own word": (
        "crc32c",
        {"ETag": f'"{OTHER}"', "ChecksumCRC32C": CRC},
        False,
    ),
    "the MD5 of an object encrypted as usual": (
        "none",
        {"ETag": f'"{MD5}"', "ServerSideEncryption": "AES256"},
        True,
    ),
    "an ETag of an object with a key of its own": (
        "none",
        {"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms"},
        False,
    ),
    "the CRC-32C of an object with a key of its own": (
        "crc32c",
        {"ETag": f'"{OTHER}"', "ServerSideEncryption": "aws:kms", "ChecksumCRC32C": CRC},
        True,
    ),
    "the SHA-256 and an ETag that is no MD5": ("sha256", {"ETag": '"x-1"', "ChecksumSHA256": SHA}, True),
    "another SHA-256": ("sha256", {"ETag": '"x-1"', "ChecksumSHA256": CRC}, False),
    "the checksum that was not sent": ("sha256", {"ETag": '"x-1"', "ChecksumCRC32C": CRC}, False),
    "nothing but the size": ("crc32c", {}, False),
    "the MD5, and another size": ("none", {"ETag": f'"{MD5}"', "ContentLength": len(DATA) - 1}, False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_proves_an_object(path: str, name: str) -> None:
    algorithm, answer, expected = ANSWERS[name]
    with FilePart(path, 0, len(DATA)) as part:
        sent = sent_whole(part, algorithm)
    assert is_proven({"ContentLength": len(DATA)} | answer, sent, algorithm) is expected


def test_an_object_in_parts_has_sums_of_sums() -> None:
    parts = [DATA[:60_000], DATA[60_000:]]
    sums = [PartSums(hashlib.md5(part).digest(), hashlib.sha256(part).digest()) for part in parts]
    crc = google_crc32c.value(DATA)
    md5 = hashlib.md5(b"".join(one.md5 for one in sums)).hexdigest()
    sha = _b64(hashlib.sha256(b"".join(one.sha256 for one in sums)).digest())
    size = len(DATA)
    assert sent_in_parts(sums, size, crc, "crc32c") == Sent(size, crc, f"{md5}-2", CRC)
    assert sent_in_parts(sums, size, crc, "sha256") == Sent(size, crc, f"{md5}-2", f"{sha}-2")
    assert sent_in_parts(sums, size, crc, "none") == Sent(size, crc, f"{md5}-2", "")


def test_a_part_knows_its_file(path: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FilePart(str(tmp_path / "absent"), 0, 0)
    with FilePart(path, 0, 5) as part:
        assert part.readable()
        assert part.seekable()
        assert part.checksum("crc32c") == {"ChecksumCRC32C": _b64(part.crc32c.to_bytes(4, "big"))}
        assert part.checksum("sha256") == {"ChecksumSHA256": _b64(part.sha256)}
        assert part.checksum("none") == {}
