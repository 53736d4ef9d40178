"""The files of an index: what they are called, what happens to them together, and what is wrong with them.

Blocking.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from rrd.disk import files, sqlite_file
from rrd.errors import DiskFull, IndexBusy, IndexDamaged, StorageFailed
from rrd.index.contract import Contradiction

NAME = "index.sqlite"
_SUFFIXES = ("", "-wal", "-shm")
_FAILED = {sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def index_path(data_dir: str) -> str:
    """Return where the index of a data directory is. A file beside it begins with this path."""
    return f"{data_dir}/{NAME}"


def paths(path: str) -> list[str]:
    """Return where the files of an index may be."""
    return [path + suffix for suffix in _SUFFIXES]


def move(path: str, target: str) -> None:
    """Move an index that is not open, as far as it is there."""
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            files.rename(path + suffix, target + suffix)


def remove(path: str) -> None:
    """Remove an index that is not open, as far as it is there."""
    files.remove(*paths(path))


@contextlib.contextmanager
def copied(path: str) -> Iterator[str]:
    """Yield the path of a copy, which goes at the end. Errors are those of ``Index``."""
    with contextlib.ExitStack() as stack:
        with translated(path):
            copy = stack.enter_context(sqlite_file.copied(path))
        yield copy


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn what SQLite says about the file or the disk into rrd's own errors; let the rest through."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary code (https://www.sqlite.org/rescode.html#pve).
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise IndexDamaged(f"{path}: {error}. Next: rebuild the index with `rrd reindex`.") from error
        if code == sqlite3.SQLITE_FULL:
            raise DiskFull(f"{path}: {error}") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise IndexBusy(f"{path} is being written by another process: {error}") from error
        if code in _FAILED:
            raise StorageFailed(f"{path}: {error}") from error
        if code == sqlite3.SQLITE_CONSTRAINT:
            raise Contradiction(str(error)) from error
        raise
