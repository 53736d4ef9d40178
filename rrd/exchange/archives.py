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
from functools import partial
from typing import IO, Literal, NamedTuple, cast

from rrd.disk import files
from rrd.errors import BrokenEncoding, TooLarge
from rrd.exchange.sidecar import META_SUFFIX, SIDECAR_BYTES_MAX
from rrd.exchange.unpacking import decompressed

Kind = Literal["zip", "tar"]

MEMBERS_MAX = 100_000
_CHUNK_BYTES = 64 << 10
_COPY_BYTES = 4 << 10
"""``tarfile`` gives nothing of a piece that is cut off."""
_TAR_BLOCK_BYTES = 512
_TAR_MAGIC = slice(257, 262)  # POSIX.1-2017, pax, "ustar Interchange Format"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # APPNOTE.TXT, 4.3.7 and, for an empty one, 4.3.16
_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)


class ArchiveMember(NamedTuple):
    """One file of an archive, unpacked."""

    name: str
    """Its path in the archive."""
    path: str
    """Where it is; gone when the next one is asked for."""
    damage: str = ""
    """Why it is there in part only."""


_Content = Callable[[], contextlib.AbstractContextManager[IO[bytes]]]


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


def unpacked(path: str, kind: Kind, *, wanted: Callable[[str], bool]) -> Generator[ArchiveMember]:
    """Yield the members of an archive whose paths are wanted, a damaged one as far as it can be read.

    Raises ``BrokenEncoding`` where the archive can't be read any further, ``TooLarge`` for too many members.
    """
    with tempfile.TemporaryDirectory(prefix="rrd-import-") as directory:
        # Where the archive ends early, what comes before is to be read all the same, and tells of it.
        with contextlib.suppress(BrokenEncoding):
            for name, content in _members(path, kind):
                if name.endswith(META_SUFFIX):
                    _copy(content, _place_of(directory, name), bytes_max=SIDECAR_BYTES_MAX)
        for name, content in _members(path, kind):
            if wanted(name) and not name.endswith(META_SUFFIX):
                place = _place_of(directory, name)
                damage = _copy(content, place)
                yield ArchiveMember(name, place, damage)
                files.remove(place)


def _members(path: str, kind: Kind) -> Iterator[tuple[str, _Content]]:
    try:
        for count, member in enumerate(_zip(path) if kind == "zip" else _tar(path)):
            if count >= MEMBERS_MAX:
                raise TooLarge(
                    f"{path} has more than {MEMBERS_MAX} files. Unpack it, and import the directory"
                )
            yield member
    except _ERRORS as error:
        raise BrokenEncoding(
            f"the {kind} archive is damaged or cut off: {error}. Fetch it again, or mend it (zip -FF)"
            if kind == "zip"
            else f"the tar archive is damaged or cut off: {error}"
        ) from error


def _zip(path: str) -> Iterator[tuple[str, _Content]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, partial(archive.open, info)


def _tar(path: str) -> Iterator[tuple[str, _Content]]:
    with open(path, "rb") as reader:
        stream = _WindowStream(_decompressed(reader, path))
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isfile() else None
                if content is not None:
                    yield info.name, partial(_as_it_is, content)


def _as_it_is(content: IO[bytes]) -> contextlib.AbstractContextManager[IO[bytes]]:
    return contextlib.nullcontext(content)


def _decompressed(reader: IO[bytes], path: str) -> Iterator[bytes]:
    return decompressed(iter(lambda: reader.read(_CHUNK_BYTES), b""), path)


def _copy(content: _Content, place: str, *, bytes_max: int | None = None) -> str:
    """Unpack a member, or its first bytes; return what is wrong with it, nothing if all is well."""
    with files.overwrite(place) as writer:
        try:
            with content() as reader:
                if bytes_max is not None:
                    writer.write(reader.read(bytes_max))
                else:
                    shutil.copyfileobj(reader, writer, _COPY_BYTES)
        except (*_ERRORS, BrokenEncoding) as error:
            is_locked = isinstance(error, RuntimeError) and "password" in str(error)
            return "it is encrypted: unpack it with its password" if is_locked else f"it is damaged: {error}"
    return ""


def _place_of(directory: str, name: str) -> str:
    """Return where to unpack a member: beside the others of its own directory in the archive."""
    parent, base = os.path.split(name.replace("\\", "/"))
    inside = os.path.join(directory, format(zlib.crc32(parent.encode("utf-8", "replace")), "08x"))
    files.make_dirs(inside)
    return os.path.join(inside, base[-200:])


class _WindowStream:
    """Windows of bytes as something to read from."""

    def __init__(self, windows: Iterator[bytes]) -> None:
        self._windows = windows
        self._waiting = b""

    def read(self, size: int) -> bytes:
        parts = [self._waiting]
        found = len(self._waiting)
        # Where compression is damaged the archive ends: ``tarfile`` raises if that is too early.
        with contextlib.suppress(BrokenEncoding):
            while found < size and (window := next(self._windows, b"")):
                parts.append(window)
                found += len(window)
        whole = b"".join(parts)
        self._waiting = whole[size:]
        return whole[:size]
