"""Which files an import reads: paths, directories, the members of a zip archive, stdin.

Each can be read more than once (``content_ids`` says why), so stdin is kept in a temporary file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from rrd.errors import BadRequest
from rrd.transfer.sidecar import META_SUFFIX, Sidecar, read_sidecar

STDIN = "-"
_EVENT_SUFFIXES = (".ndjson", ".jsonl", ".json")
_PACKED_SUFFIXES = ("", ".gz", ".zst", ".br")
_ZIP_SUFFIX = ".zip"
_ZIP_MAGIC = b"PK\x03\x04"
_SPOOL_BYTES = 16 << 20
"""More of stdin than this lies on the disk while it is imported."""


class File(NamedTuple):
    """One file to import."""

    path: str
    sidecar: Sidecar | None = None
    """What the export said about it."""
    member: str = ""
    """Its name in the zip archive at ``path``."""

    @property
    def name(self) -> str:
        """Its own name, without directories."""
        return os.path.basename(self.member or self.path)

    def __str__(self) -> str:
        if self.path == STDIN:
            return "stdin"
        return f"{self.path}: {self.member}" if self.member else self.path


def find_files(paths: Sequence[str]) -> Iterator[File]:
    """Yield the files that ``paths`` name, those below directories in order. Raises ``BadRequest``,
    ``OSError``.

    Below a directory, and in an archive, only what looks like events counts; a file that is named counts
    whatever it looks like.
    """
    for path in paths:
        if path == STDIN:
            yield File(path)
        elif os.path.isdir(path):
            yield from _below(path)
        elif _is_zip(path):
            yield from _members(path)
        else:
            yield File(path, read_sidecar(path))


def _below(directory: str) -> Iterator[File]:
    for place, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if _looks_like_events(name):
                yield File(path, read_sidecar(path))
            elif name.endswith(_ZIP_SUFFIX) and _is_zip(path):
                yield from _members(path)


def _looks_like_events(name: str) -> bool:
    stem = name.lower()
    for suffix in _PACKED_SUFFIXES:
        stem = stem.removesuffix(suffix)
    # What an export that was broken off left behind begins with a dot.
    return stem.endswith(_EVENT_SUFFIXES) and not name.endswith(META_SUFFIX) and not name.startswith(".")


def _is_zip(path: str) -> bool:
    with open(path, "rb") as reader:
        return reader.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC


def _members(path: str) -> Iterator[File]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if _looks_like_events(os.path.basename(name)))
    except zipfile.BadZipFile as error:
        raise BadRequest(f"{path}: a zip archive that can't be read: {error}") from None
    if not names:
        raise BadRequest(f"{path}: a zip archive without a .json, .jsonl or .ndjson file")
    for name in names:
        yield File(path, member=name)


@contextlib.contextmanager
def stdin_kept() -> Iterator[IO[bytes]]:
    """Read all of stdin into a temporary file, which goes when the block ends. Blocking."""
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        yield spool


@contextlib.contextmanager
def opened(file: File, stdin: IO[bytes] | None) -> Iterator[IO[bytes]]:
    """Open a file at its beginning. Raises ``OSError``, ``zipfile.BadZipFile``."""
    if file.path == STDIN:
        assert stdin is not None
        stdin.seek(0)
        yield stdin
    elif file.member:
        with zipfile.ZipFile(file.path) as archive, archive.open(file.member) as member:
            yield member
    else:
        with open(file.path, "rb") as reader:
            yield reader


def size_of(file: File) -> int:
    """Return a file's size in bytes as it lies there; 0 if that isn't known."""
    return 0 if file.path == STDIN or file.member else os.path.getsize(file.path)
