"""A data directory that can't be written to: a snapshot, a read-only mount, another user's copy.

Commands that only read must work there, too. SQLite can't read a database with a log where it can't write
beside it (https://www.sqlite.org/wal.html#readonly), and an index of an older version must be migrated first.
So databases are copied into a temporary directory (``TMPDIR``), with their logs, and the copies are opened in
the usual way. A copy is consistent: SQLite makes it where it can open the file; where it can't, nothing runs
that could write to it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

from rrd import layout
from rrd.disk import files
from rrd.errors import NotFound
from rrd.index.index import Index
from rrd.tombstones import Tombstones

_SUFFIXES = ("", "-wal")


def is_read_only(data_dir: str) -> bool:
    """Tell whether nothing can be written to a data directory, or to its index."""
    path = layout.index_path(data_dir)
    return not os.access(data_dir, os.W_OK) or (os.path.exists(path) and not os.access(path, os.W_OK))


def copy_database(source: str, target: str) -> None:
    """Copy an SQLite file with what stands in its log, as of one moment. Blocking.

    Raises ``OSError``, ``sqlite3.DatabaseError``.
    """
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{quote(source)}?mode=ro", uri=True)) as reader,
            contextlib.closing(sqlite3.connect(target)) as writer,
        ):
            reader.backup(writer)
            return
    except sqlite3.OperationalError as error:
        # The low byte is the primary code (https://www.sqlite.org/rescode.html#pve).
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise
    # It can't be opened without writing beside it. Then no other process has it open.
    for suffix in _SUFFIXES:
        files.remove(target + suffix)
        if not suffix or os.path.exists(source + suffix):
            files.copy(source + suffix, target + suffix)


@contextlib.asynccontextmanager
async def open_index(data_dir: str) -> AsyncIterator[Index]:
    """Open the index to read it. Raises ``NotFound`` if there is none, and what ``Index.open`` raises."""
    path = layout.index_path(data_dir)
    if not _is_there(path):
        raise NotFound(f"{path}: there is no index here. Check --data-dir; `rrd reindex` makes it again")
    with contextlib.ExitStack() as stack:
        if is_read_only(data_dir):
            path = stack.enter_context(_copied(path))
        async with await Index.open(path) as index:
            yield index


@contextlib.contextmanager
def open_tombstones(data_dir: str) -> Iterator[Tombstones]:
    """Open the tombstones to read them. Raises ``RrdError``, ``OSError``."""
    path = layout.tombstones_path(data_dir)
    with contextlib.ExitStack() as stack:
        if is_read_only(data_dir):
            path = stack.enter_context(_copied(path))
        yield stack.enter_context(Tombstones(path))


@contextlib.contextmanager
def _copied(path: str) -> Iterator[str]:
    """Yield the path of a copy, which goes at the end; of nothing where there is no such file."""
    with tempfile.TemporaryDirectory(prefix="rrd-read-only-") as directory:
        target = f"{directory}/{os.path.basename(path)}"
        if os.path.exists(path):
            copy_database(path, target)
        yield target


def _is_there(path: str) -> bool:
    return os.path.exists(path)
