"""zip and tar files → the files in them, one at a time, each on disk while it is read.

A member is copied into a temporary directory under its own name, the last part of its path, and is then a
file as any other; nothing of an archive is held in memory. What an export said about a recording
(``sidecar``) is copied first, so that it is there when the events' turn comes, in whichever order a tar file
has them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import IO, Literal, NamedTuple, cast

from rrd.errors import BrokenEncoding, TooLarge
from rrd.transfer.sidecar import META_SUFFIX, SIDECAR_BYTES_MAX
from rrd.transfer.unpacking import decompressed

Kind = Literal["zip", "tar"]

MEMBERS_MAX = 100_000
_CHUNK_BYTES = 64 << 10
_TAR_BLOCK_BYTES = 512
_TAR_MAGIC = slice(257, 262)  # POSIX.1-2017, pax, "ustar Interchange Format"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # APPNOTE.TXT, 4.3.7 and, for an empty one, 4.3.16
_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)


class Member(NamedTuple):
    """One file of an archive, unpacked."""

    name: str
    """Its path in the archive."""
    path: str
    """Where it is; gone when the next one is asked for."""


def kind_of_archive(path: str) -> Kind | None:
    """Return what kind of archive a file is, whatever compresses it; None if it is none."""
    if not os.path.isfile(path):
        return None  # A pipe: what is read from it here would be missing later.
    with open(path, "rb") as reader:
        if reader.read(4) in _ZIP_MAGIC:
            return "zip"
        reader.seek(0)
        head = b""
        with contextlib.suppress(BrokenEncoding):
            for window in _decompressed(reader, path):
                head += window
                if len(head) >= _TAR_BLOCK_BYTES:
                    break
    return "tar" if head[_TAR_MAGIC] == b"ustar" else None


def unpacked(path: str, kind: Kind, *, wanted: Callable[[str], bool]) -> Generator[Member]:
    """Yield the members of an archive whose paths are wanted.

    Raises ``BrokenEncoding`` where the archive can't be read any further, ``TooLarge`` for too many members.
    """
    with tempfile.TemporaryDirectory(prefix="rrd-import-") as directory:
        for is_meta in (True, False):
            for name, content in _members(path, kind):
                if name.endswith(META_SUFFIX) != is_meta or not (is_meta or wanted(name)):
                    continue
                place = _place_of(directory, name)
                with content as reader, open(place, "wb") as writer:
                    if is_meta:
                        writer.write(reader.read(SIDECAR_BYTES_MAX))
                        continue
                    _copy(reader, writer, path)
                yield Member(name, place)
                os.unlink(place)


def _members(path: str, kind: Kind) -> Iterator[tuple[str, contextlib.AbstractContextManager[IO[bytes]]]]:
    try:
        for count, member in enumerate(_zip(path) if kind == "zip" else _tar(path)):
            if count >= MEMBERS_MAX:
                raise TooLarge(
                    f"{path} has more than {MEMBERS_MAX} files. Unpack it, and import the directory"
                )
            yield member
    except _ERRORS as error:
        raise BrokenEncoding(f"the {kind} archive can't be read: {error}") from error


def _zip(path: str) -> Iterator[tuple[str, contextlib.AbstractContextManager[IO[bytes]]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, archive.open(info)


def _tar(path: str) -> Iterator[tuple[str, contextlib.AbstractContextManager[IO[bytes]]]]:
    with open(path, "rb") as reader:
        stream = _Stream(_decompressed(reader, path))
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isfile() else None
                if content is not None:
                    yield info.name, content


def _decompressed(reader: IO[bytes], path: str) -> Iterator[bytes]:
    return decompressed(iter(lambda: reader.read(_CHUNK_BYTES), b""), path)


def _copy(reader: IO[bytes], writer: IO[bytes], path: str) -> None:
    try:
        shutil.copyfileobj(reader, writer, _CHUNK_BYTES)
    except _ERRORS as error:
        raise BrokenEncoding(f"a file in {path} can't be unpacked: {error}") from error


def _place_of(directory: str, name: str) -> str:
    """Return where to unpack a member: beside the others of its own directory in the archive."""
    parent, base = os.path.split(name.replace("\\", "/"))
    inside = os.path.join(directory, format(zlib.crc32(parent.encode("utf-8", "replace")), "08x"))
    os.makedirs(inside, exist_ok=True)
    return os.path.join(inside, base[-200:])


class _Stream:
    """Windows of bytes as something to read from."""

    def __init__(self, windows: Iterator[bytes]) -> None:
        self._windows = windows
        self._waiting = b""

    def read(self, size: int) -> bytes:
        parts = [self._waiting]
        found = len(self._waiting)
        while found < size and (window := next(self._windows, b"")):
            parts.append(window)
            found += len(window)
        whole = b"".join(parts)
        self._waiting = whole[size:]
        return whole[:size]
