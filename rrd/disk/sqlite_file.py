"""A small SQLite file that nothing can rebuild: private, in WAL mode, each commit on disk when it returns.

Any number of processes may hold one open. A file must not be replaced under a process that holds it: SQLite
would go on with the old one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Self
from urllib.parse import quote

from rrd.disk import files
from rrd.errors import DiskFull, RrdError

BUSY_TIMEOUT_S = 5.0
"""A write takes milliseconds. A lock that is held longer is that of a shell in which the file is open."""

_BUSY_PAUSE_S = 0.01


class SqliteFile:
    """The open file. Safe to use from several threads; every call may block for a few milliseconds.

    One connection writes and one reads, so that a reader doesn't wait while a commit is synced. Each raises
    ``RrdError`` when SQLite can't read or write the file (``DiskFull`` if that is why).
    """

    def __init__(
        self, path: str, migrations: Mapping[int, Sequence[str]], *, version: int, advice: str
    ) -> None:
        """Open ``path``; make it, and its directory, if it isn't there.

        ``migrations``: from which version on (0: an empty file) → statements that make it ``version``.
        ``advice`` says what to do where the file is damaged.
        """
        self.path = path
        self._advice = advice
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        refuse_link(path)
        _make(path)
        with explained(self.path, advice=self._advice):
            self._writer = self._connect()
            try:
                self._migrate(migrations, version)
                self._reader = self._connect()
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to read with."""
        with self._read_lock, explained(self.path, advice=self._advice):
            yield self._reader

    @contextlib.contextmanager
    def writing(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        """Yield one transaction, on disk when it ends if ``synced``; undone when its body raises."""
        db = self._writer
        with self._write_lock, explained(self.path, advice=self._advice):
            db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.rollback()  # Does nothing where SQLite has done so already, as on a full disk.
                raise
            db.execute("COMMIT")

    def data_version(self) -> int:
        """Return a number that differs whenever a commit came since the last call, from any process.

        Costs microseconds, and reads no row.
        """
        with self.reading() as db:
            (version,) = db.execute("PRAGMA data_version").fetchone()
            return int(version)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )

    def _migrate(self, migrations: Mapping[int, Sequence[str]], version: int) -> None:
        if self._version() == version:
            return
        self._use_wal()
        with self.writing() as db:
            # Asked again: another process can't be migrating now.
            found = self._version()
            if found > version:
                raise RrdError(
                    f"{self.path}: made by a newer rrd (version {found}, this one knows up to {version}). "
                    "Next: install the newer rrd again, or go back as docs/upgrade.md says"
                )
            if found == version:
                return
            if found not in migrations:
                raise RrdError(f"{self.path}: made by an rrd before the first release (version {found})")
            for statement in migrations[found]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version}")

    def _use_wal(self) -> None:
        """Set a mode that the file keeps: readers and the one writer don't wait for each other."""
        end = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # SQLite itself doesn't wait here for another process that does the same.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(_BUSY_PAUSE_S)
            else:
                return

    def _version(self) -> int:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        return int(version)


@contextlib.contextmanager
def explained(path: str, *, advice: str) -> Iterator[None]:
    """Turn SQLite's errors into ours, with the file's name and what to do. ``advice``: if it is damaged."""
    try:
        yield
    except sqlite3.ProgrammingError:  # Used after it was closed, or the like: a bug of ours.
        raise
    except sqlite3.OperationalError as error:
        # The low byte is the primary code (https://www.sqlite.org/rescode.html#pve).
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise DiskFull(f"{path}: {error}") from error
        raise RrdError(
            f"{path}: {error}. Check the disk, and that the file is yours to read and write"
        ) from error
    except sqlite3.DatabaseError as error:
        raise RrdError(f"{path}: {error}. {advice}") from error


class Keeper:
    """What is kept in one such file. Use as a context manager, or ``close`` it."""

    _file: SqliteFile

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_link(path: str) -> None:
    """Raise ``RrdError`` where root would write what another user's link leads to: SQLite follows it."""
    if os.geteuid() == 0 and os.path.islink(path) and os.lstat(path).st_uid != 0:
        raise RrdError(
            f"{path}: a link, made by another user than root, and root would write what it leads to. "
            "Put the file itself there, or run this as the owner of the directory"
        )


def _make(path: str) -> None:
    """Make an empty file that only the owner of its directory reads, unless there is one."""
    directory = os.path.dirname(path) or "."
    files.make_dirs(directory)
    with contextlib.suppress(FileExistsError), files.create(path) as made:
        files.give_to_owner(made.fileno(), directory)


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
    for suffix in ("", "-wal"):
        files.remove(target + suffix)
        if not suffix or os.path.exists(source + suffix):
            files.copy(source + suffix, target + suffix)


@contextlib.contextmanager
def copied(path: str) -> Iterator[str]:
    """Yield the path of a copy, which goes at the end; of nothing where there is no such file.

    SQLite can't read a database with a log where it can't write beside it
    (https://www.sqlite.org/wal.html#readonly), and one of an older version must be migrated first. A copy is
    consistent: SQLite makes it where it can open the file; where it can't, nothing runs that could write.
    """
    with tempfile.TemporaryDirectory(prefix="rrd-read-only-") as directory:
        target = f"{directory}/{os.path.basename(path)}"
        if os.path.exists(path):
            copy_database(path, target)
        yield target
