"""The connections to one index file: one that writes, one that reads, and what keeps them apart.

Two connections in WAL mode, each with a thread of its own. A reader sees the last committed state
and never waits for the writer (https://www.sqlite.org/wal.html).

What is deleted is overwritten with zeros (``secure_delete``), first in SQLite's log, and in the main file
when the log is moved there. Older pages stay readable in the log until it is cut off, so ``scrub`` does
that soon after a removal. Ingest isn't held up: a third connection copies nearly all pages while others read
and write (a passive checkpoint); then writes wait for the few that came since. Where another process reads
just then, it is tried again later.

What this does not promise: where SQLite moved a row to another page to make room, the copy it moved may stay
in the old page's unused part, and a removal of the row doesn't overwrite that. It was so for fewer than 1 in
1000 deleted values when they were long and short at random, for none when all were short. The part's next use
overwrites it, or ``vacuum`` does (``rrd vacuum``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from asyncio import Lock, to_thread
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiosqlite

from rrd.disk import files
from rrd.errors import ConfigError, IndexBusy, RrdError
from rrd.index.sqlite.files import translated
from rrd.index.sqlite.migrations import migrate, scripts
from rrd.index.sqlite.values import Row
from rrd.log import emit

_CACHE_KIB = 32 * 1024  # A connection. The upper pages of a million recordings' B-trees fit.
_WAL_BYTES_KEPT = 64 * 1024 * 1024  # A WAL that grew in a burst is cut back to this.
_CHECKPOINT_PAGES = 4000  # 16 MB. Fewer checkpoints write a page that changes often fewer times.
_SCRUB_PAUSE_S = 1.0  # Between two scrubs, however many removals there are: each syncs the main file.
_SCRUB_PAUSE_MAX_S = 60.0
_BUSY_PATIENCE_S = 10.0  # A copy or a VACUUM by hand takes seconds. Beyond that a sender should know.

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class Connections:
    """The open file. Made by ``open``, ended by ``close``. Errors are those of ``Index``."""

    def __init__(self, path: str, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        """Use ``Connections.open``."""
        self.path = path
        self.writer = writer
        self.reader = reader
        self._writing = Lock()
        self._reading = Lock()
        self._scrubbing: asyncio.Task[None] | None = None
        self._is_to_scrub = False

    @classmethod
    async def open(cls, path: str) -> Self:
        """Open the file at ``path``; make it if there is none, migrate it if it is old."""
        with translated(path):
            # A log that a crash left behind may still hold what was removed just before.
            has_log = _exists(f"{path}-wal")
            writer = await _connect(path)
            try:
                await _prepare_writer(writer, path)
                reader = await _connect_reader(path)
            except BaseException:
                await _close(writer)
                raise
        connections = cls(path, writer, reader)
        if has_log:
            connections.scrub()
        return connections

    async def close(self) -> None:
        """Move everything into the main file and close it. Wait for calls under way, allow none after."""
        self._is_to_scrub = False
        if self._scrubbing is not None:
            self._scrubbing.cancel()
            await asyncio.wait([self._scrubbing])
        async with self._writing, self._reading:
            with translated(self.path):
                try:
                    await _close(self.reader)
                    # Waiting for readers in other processes would keep a daemon's writes waiting, too.
                    await self.writer.execute("PRAGMA busy_timeout = 0")
                    await self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    await _close(self.writer)

    async def read(self, sql: str, **parameters: object) -> list[Row]:
        """Run one statement, which is one state of the index by itself."""
        async with self._reading:
            with translated(self.path):
                return await fetch(self.reader, sql, parameters)

    async def read_with(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Let ``function`` read one state of the index, with several statements, in the reader's thread.

        Other reads wait, so it should be short. Called at once, since each way to the thread and back is a
        wait for the event loop and one for the interpreter.
        """
        async with self._reading:
            with translated(self.path):
                # aiosqlite knows no public way to call a function in its thread.
                call: Callable[..., Awaitable[_T]] = self.reader._execute
                return await call(_in_one_state, self.reader._conn, function)

    async def write_with(self, function: Callable[[sqlite3.Connection], _T], *, synced: bool) -> _T:
        """Let ``function`` write in one transaction, in the writer's thread: all that it does, or nothing.

        ``synced``: on disk when this returns, with all that was committed before. Cancelled, it still
        happens, and has happened when this raises ``CancelledError``.

        Where another process holds the file locked, this waits, and raises ``IndexBusy`` after some 10 s.
        """
        async with self._writing:
            end = time.monotonic() + _BUSY_PATIENCE_S
            while True:
                try:
                    return await self._write_once(function, synced=synced)
                except IndexBusy as error:
                    if time.monotonic() >= end:
                        raise
                    emit(logger, logging.WARNING, "index_locked", error=error, next_step="it is tried again")

    async def _write_once(self, function: Callable[[sqlite3.Connection], _T], *, synced: bool) -> _T:
        """Try a write. SQLite itself waits for a lock for 5 s."""
        with translated(self.path):
            # As above.
            call: Callable[..., Awaitable[_T]] = self.writer._execute
            try:
                return await call(_in_one_transaction, self.writer._conn, function, synced)
            except asyncio.CancelledError:
                # There is nothing to roll back; but the thread's next call ends after the one before.
                await self.writer.rollback()
                raise

    async def vacuum(self) -> None:
        """Write the file anew without unused parts, and cut off the log. Needs room for a copy of it."""
        async with self._writing, self._reading:
            with translated(self.path):
                # A connection that has no statement half read, or SQLite refuses.
                db = await _connect(self.path)
                try:
                    await fetch(db, "VACUUM")
                    await fetch(db, "PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    await _close(db)

    async def copy_to(self, path: str) -> None:
        """Write the file's state of one moment to ``path``, where nothing may be. Private, not synced.

        Uses a connection of its own, so reads and writes go on. Cancelled or failed, it leaves nothing.
        """
        if _exists(path):
            raise FileExistsError(path)
        with translated(path):
            db = await _connect_reader(self.path)
            try:
                try:
                    await db.execute("VACUUM INTO ?", (path,))
                    files.make_private(path)
                finally:
                    await db.interrupt()
                    await _close(db)
            except BaseException:
                files.remove(path)
                raise

    # Scrubbing

    def scrub(self) -> None:
        """See to it that the log is cut off soon. Returns at once."""
        self._is_to_scrub = True
        if self._scrubbing is None or self._scrubbing.done():
            self._scrubbing = asyncio.create_task(self._scrub())

    async def _scrub(self) -> None:
        pause_s = _SCRUB_PAUSE_S
        while self._is_to_scrub:
            self._is_to_scrub = False
            if await self._has_scrubbed():
                pause_s = _SCRUB_PAUSE_S
            else:
                self._is_to_scrub = True
                pause_s = min(2 * pause_s, _SCRUB_PAUSE_MAX_S)
            await asyncio.sleep(pause_s)

    async def _has_scrubbed(self) -> bool:
        """Try to cut off the log; tell whether that was possible."""
        try:
            with translated(self.path):
                db = await _connect(self.path)
                try:
                    # To be refused at once where another process reads, not to wait with our writers waiting.
                    await db.execute("PRAGMA busy_timeout = 0")
                    await fetch(db, "PRAGMA wal_checkpoint(PASSIVE)")
                    async with self._writing, self._reading:
                        ((is_busy, _, _),) = await fetch(db, "PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    await _close(db)
        except (RrdError, sqlite3.Error) as error:
            # It is tried again; what fails for good fails where somebody waits for it, too.
            emit(logger, logging.WARNING, "index_log_not_cut", error=error)
            return False
        return not is_busy


def _in_one_state(db: sqlite3.Connection, function: Callable[[sqlite3.Connection], _T]) -> _T:
    try:
        db.execute("BEGIN")
        return function(db)
    finally:
        db.rollback()


def _in_one_transaction(
    db: sqlite3.Connection, function: Callable[[sqlite3.Connection], _T], synced: bool
) -> _T:
    try:
        if synced:
            db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        result = function(db)
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise
    finally:
        if synced:
            db.execute("PRAGMA synchronous = NORMAL")
    return result


async def fetch(
    db: aiosqlite.Connection, sql: str, parameters: Mapping[str, object] | None = None
) -> list[Row]:
    """Return all rows of a statement."""
    # Rows are plain tuples, since no row factory is set; the annotation upstream says otherwise.
    rows: Iterable[Any] = await db.execute_fetchall(sql, parameters)
    return list(rows)


async def _connect(path: str, *, uri: bool = False) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, uri=uri, isolation_level=None)
    try:
        return await connection
    except BaseException:
        await _join(connection)
        raise


async def _close(connection: aiosqlite.Connection) -> None:
    try:
        await connection.close()
    except BaseException:
        await _join(connection)
        raise


async def _join(connection: aiosqlite.Connection) -> None:
    """Wait for the thread of a connection that was given up.

    It has yet to tell this loop that it ends. Nobody else waits for that, and the loop may be closed by then.
    """
    await to_thread(connection._thread.join)


async def _connect_reader(path: str) -> aiosqlite.Connection:
    reader = await _connect(f"file:{quote(path)}?mode=ro", uri=True)
    try:
        await reader.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        await _close(reader)
        raise
    return reader


async def _prepare_writer(writer: aiosqlite.Connection, path: str) -> None:
    # Before anything else, so that a file which isn't ours is left as it was.
    await migrate(writer, path, scripts())
    ((mode,),) = await fetch(writer, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise ConfigError(f"{path}: SQLite can't use a WAL here; data_dir must be on a local file system")
    for setting in (
        "synchronous = NORMAL",
        f"cache_size = -{_CACHE_KIB}",
        f"journal_size_limit = {_WAL_BYTES_KEPT}",
        f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
        "secure_delete = ON",
    ):
        await writer.execute(f"PRAGMA {setting}")


def _exists(path: str) -> bool:
    # One call, of a name that the kernel has at hand: not worth a thread.
    return os.path.lexists(path)
