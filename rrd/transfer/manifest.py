"""What a backup says about itself.

::

    TARGET/
      manifest.json   what this is; written last, so a backup without it is not whole
      SHA256SUMS      a checksum for every file below data/; `sha256sum -c SHA256SUMS` checks it, too
      data/           index.sqlite, keys.sqlite, tombstones.sqlite, active/, sealed/, objects/
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

import msgspec

from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.errors import BadRequest

FORMAT = "rrd-backup-1"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
DATA = "data"

COPY_BYTES = 1 << 20


class Manifest(msgspec.Struct):
    """``manifest.json``."""

    format: str
    rrd: str
    """Version of the rrd that made it."""
    started_ms: int
    finished_ms: int
    """Everything acked before the start is in it, nothing erased before the end is."""
    recordings: int
    files: int
    size: int
    """Bytes of all files."""
    sums_sha256: str
    """Of the file ``SHA256SUMS``."""
    objects: str
    """``included``, ``left out``, or the name of the store that they are in."""
    missing: list[str]
    """Files and objects that the index knew and nobody found."""


class Sum(NamedTuple):
    """One line of ``SHA256SUMS``."""

    sha256: str
    path: str
    """Below the backup's directory."""


def write_manifest(target: str, manifest: Manifest) -> None:
    """Put everything in ``target`` on disk, then the manifest: from here on the backup counts."""
    disk = OsDisk()
    disk.sync_all(target)
    path = f"{target}/{MANIFEST}"
    files.remove(f"{path}.part")
    handle = disk.open_append(f"{path}.part", create=True)
    try:
        disk.write(handle, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        disk.sync(handle)
    finally:
        disk.close(handle)
    disk.rename(f"{path}.part", path)
    disk.sync_dir(target)


def read_manifest(source: str) -> Manifest:
    """Read a backup's manifest. Raises ``BadRequest`` if this is no whole backup."""
    try:
        with open(f"{source}/{MANIFEST}", "rb") as file:
            manifest = msgspec.json.decode(file.read(), type=Manifest)
    except FileNotFoundError:
        raise BadRequest(f"{source} is no backup, or one that was never finished: no {MANIFEST}") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"{source}/{MANIFEST} is damaged: {error}") from None
    if manifest.format != FORMAT:
        raise BadRequest(
            f"{source} is a backup of another kind ({manifest.format}): use the rrd that made it"
        )
    return manifest


def read_sums(path: str) -> Iterator[Sum]:
    """Yield a file's checksums. Raises ``BadRequest`` for a line that could lead out of the backup."""
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            sha256, _, name = line.rstrip("\n").partition("  ")
            if len(sha256) != 64 or not name.startswith(f"{DATA}/") or ".." in name.split("/"):
                raise BadRequest(f"{path} is damaged: {line!r}")
            yield Sum(sha256, name)


def file_sha256(path: str) -> str:
    """Return a file's checksum, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class NewFile:
    """A file that is written from its start, readable by its owner alone, with its checksum. Not synced."""

    def __init__(self, path: str) -> None:
        files.make_dirs(os.path.dirname(path))
        self._path = path
        self._file = files.create(path)
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def close(self) -> str:
        """Return its checksum, in hex."""
        self._file.close()
        return self._digest.hexdigest()

    def discard(self) -> None:
        self._file.close()
        files.remove(self._path)


class Unreadable(Exception):
    """What is to be copied can't be read. What is written to has errors of its own."""


def copy_file(source: str, target: str, *, size: int | None, add: Callable[[int], None]) -> str:
    """Copy a file's first ``size`` bytes (None: all) into a new file; return their checksum.

    Not synced. ``add`` is told how many more bytes are done. Raises ``EOFError`` if there are fewer,
    ``Unreadable``, and ``OSError`` if the new file can't be written.
    """
    try:
        reader = open(source, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise Unreadable(f"{source}: {error.strerror}") from error
    with reader:
        writer = NewFile(target)
        try:
            while size is None or writer.size < size:
                part = _read(reader, COPY_BYTES if size is None else min(size - writer.size, COPY_BYTES))
                if not part:
                    break
                writer.write(part)
                add(len(part))
            if size is not None and writer.size < size:
                raise EOFError(f"{source}: {size} bytes should be there, {writer.size} are")
        except BaseException:
            writer.discard()
            raise
        return writer.close()


def _read(reader: IO[bytes], size: int) -> bytes:
    try:
        return reader.read(size)
    except OSError as error:
        raise Unreadable(f"{reader.name}: {error.strerror}") from error
