"""The index: what SQLite knows about recordings, as typed calls on an event loop.

Two connections in WAL mode, each with a thread of its own: one writes, one reads. A reader sees
the last committed state and never waits for the writer (https://www.sqlite.org/wal.html).

A commit of blocks is not synced (``synchronous=NORMAL``): a power cut may take the newest
transactions away, in order, and recovery reads them from the segments again. Sealing is synced,
since the file is renamed after it, and recovery doesn't look for lost blocks in sealed segments.
"""

from __future__ import annotations

import json
import sqlite3
from asyncio import Lock, to_thread
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self
from urllib.parse import quote

import aiosqlite

from rrd.errors import BadRequest, ConfigError, DiskFull, IndexDamaged, StorageFailed
from rrd.index import listing, queries
from rrd.index.migrations import migrate, scripts
from rrd.index.rows import (
    Commit,
    ListedRecording,
    MetadataRow,
    QuarantineRow,
    RecordingRow,
    SegmentRow,
    Statistics,
)
from rrd.index.values import STATES, Row, block_values, filter_values, metadata_values, segment_row, to_text

_CACHE_KIB = 32 * 1024  # A connection. The upper pages of a million recordings' B-trees fit.
_WAL_BYTES_KEPT = 64 * 1024 * 1024  # A WAL that grew in a burst is cut back to this.
_CHECKPOINT_PAGES = 4000  # 16 MB. Fewer checkpoints write a page that changes often fewer times.


class Index:
    """The index of one data directory. Made by ``Index.open``, ended by ``close``.

    Calls may overlap: writes take turns, reads see the last finished write. Any call may raise
    ``IndexDamaged`` when SQLite finds the file damaged, ``DiskFull`` or ``StorageFailed`` when
    the disk does not do what it should.
    """

    def __init__(self, path: str, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        """Use ``Index.open``."""
        self.path = path
        self.next_row_id = 1
        """What ``take_row_id`` returns next: at open, 1 + the greatest row id in the index."""
        self._writer = writer
        self._reader = reader
        self._writing = Lock()
        self._reading = Lock()

    @classmethod
    async def open(cls, path: str) -> Self:
        """Open the index at ``path``; make it if there is none, migrate it if it is old.

        Raises ``IndexDamaged`` if the file is no index, or damaged where that shows at once, or
        written by a newer rrd; ``ConfigError`` if the file system can't hold it.
        """
        with _translated(path):
            writer = await _connect(path)
            try:
                await _prepare_writer(writer, path)
                reader = await _connect(f"file:{quote(path)}?mode=ro", uri=True)
                try:
                    await reader.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                    index = cls(path, writer, reader)
                    for (row_id,) in await _fetch(reader, queries.GREATEST_ROW_ID):
                        index.next_row_id = row_id + 1
                except BaseException:
                    await reader.close()
                    raise
            except BaseException:
                await writer.close()
                raise
        return index

    async def close(self) -> None:
        """Move everything into the main file and close it. Wait for calls under way, allow none after."""
        async with self._writing, self._reading:
            with _translated(self.path):
                try:
                    await self._reader.close()
                    await self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    await self._writer.close()

    def take_row_id(self) -> int:
        """Return the number of the next new recording, never the same one twice."""
        row_id = self.next_row_id
        self.next_row_id += 1
        return row_id

    # Writing

    async def apply(self, commits: Sequence[Commit]) -> None:
        """Take in a group of synced blocks, in order, in one transaction: all of them or none.

        Not synced. Raises ``sqlite3.IntegrityError``, and changes nothing, if a block would not
        make its segment longer (told twice, or stale), belongs to a sealed segment, or claims the
        row id or the name of another recording: only a bug can. Cancelled, it has been applied
        whole or not at all.
        """
        if not commits:
            return
        blocks = [block_values(commit) for commit in commits]
        changes = [values for commit in commits for values in metadata_values(commit)]
        async with self._transaction(synced=False) as db:
            await db.executemany(queries.PUT_BLOCK, blocks)
            if changes:
                await db.executemany(queries.PUT_METADATA, changes)

    async def seal(self, sealed: Sequence[tuple[int, int]]) -> None:
        """Mark segments, given as (row_id, number), as sealed: all or none, on disk when this returns.

        Everything applied before is on disk then, too. A segment that is sealed already stays so.
        Raises ``sqlite3.IntegrityError`` if one is not known.
        """
        if not sealed:
            return
        async with self._transaction(synced=True) as db:
            cursor = await db.executemany(queries.SEAL, sealed)
            if cursor.rowcount != len(sealed):
                raise sqlite3.IntegrityError("a segment to be sealed is not in the index")

    # Reading

    async def is_empty(self) -> bool:
        """Tell whether no recording is known at all."""
        ((empty,),) = await self._read(queries.IS_EMPTY)
        return bool(empty)

    async def recording(self, tenant: str, recording: str) -> RecordingRow | None:
        """Return what is known of a recording, visible or not; None if nothing is."""
        found: Row | None = None
        segments: list[SegmentRow] = []
        keys: list[str] = []
        for kind, *values in await self._read(queries.RECORDING, {"tenant": tenant, "recording": recording}):
            if kind == 0:
                found = tuple(values)
            elif kind == 1:
                segments.append(segment_row(values))
            else:
                keys.append(to_text(values[0]))
        if found is None:
            return None
        row_id, created_ms, next_seq, last_ts, visible = found
        return RecordingRow(
            row_id=row_id,
            tenant=tenant,
            recording=recording,
            created_ms=created_ms,
            next_seq=next_seq,
            last_ts=last_ts,
            visible=bool(visible),
            metadata_keys=frozenset(keys),
            segments=tuple(sorted(segments)),
        )

    async def metadata(self, tenant: str, recording: str) -> list[MetadataRow]:
        """Return a recording's metadata, sorted by key; nothing for an unknown recording."""
        rows = await self._read(queries.METADATA, {"tenant": tenant, "recording": recording})
        return sorted(
            MetadataRow(to_text(key), to_text(value), version, at_ms) for key, value, version, at_ms in rows
        )

    async def list_recordings(
        self, tenant: str, *, filters: Sequence[tuple[str, str]], limit: int, offset: int
    ) -> list[ListedRecording]:
        """Return visible recordings, newest first, that have every (key, value) of ``filters``.

        Skips ``offset``, returns up to ``limit``; both from 0. Raises ``BadRequest`` for more
        than ``listing.FILTERS_MAX`` different filters.
        """
        wanted = list(dict.fromkeys(filters))
        if len(wanted) > listing.FILTERS_MAX:
            raise BadRequest(
                f"at most {listing.FILTERS_MAX} filters are possible",
                code="too_many_filters",
                parameter="meta",
            )
        async with self._snapshot() as db:
            sets = await _filter_sets(db, tenant, wanted)
            if not sets:
                return []
            chunk_limit = listing.chunk_limit(limit, offset)
            chunks = await _fetch(db, listing.chunks_sql(len(sets)), (*sets, chunk_limit))
            row_ids = listing.newest(chunks, limit=limit, offset=offset)
            rows = await _fetch(db, listing.LISTED, (json.dumps(row_ids),))
        listed: dict[int, ListedRecording] = {}
        for row_id, name, created_ms, key, value in rows:
            entry = listed.setdefault(row_id, ListedRecording(name, created_ms, {}))
            if key is not None:
                entry.metadata[to_text(key)] = to_text(value)
        return [listed[row_id] for row_id in row_ids]

    async def statistics(self, tenant: str, *, month_start_ms: int) -> Statistics:
        """Return a tenant's counters; all 0 for an unknown one.

        The month is the one (UTC) that ``month_start_ms`` lies in. Recordings count when they
        are visible, bytes always.
        """
        parameters = {"tenant": tenant, "month_start_ms": month_start_ms}
        for row in await self._read(queries.STATISTICS, parameters):
            return Statistics(*row)
        return Statistics(0, 0, 0)

    async def active_segments(self) -> list[tuple[str, str, int, SegmentRow]]:
        """Return all segments not sealed, as (tenant, recording, row id, segment), oldest recording first."""
        return [(*row[:3], segment_row(row[3:])) for row in await self._read(queries.ACTIVE_SEGMENTS)]

    async def quarantine(self, *, tenant: str | None, recording: str | None) -> list[QuarantineRow]:
        """Return the blocks that hold quarantined lines, by recording and place; None stands for any."""
        sql = queries.QUARANTINE if recording is None else queries.QUARANTINE_OF_RECORDING
        rows = await self._read(sql, {"tenant": tenant, "recording": recording})
        return [
            QuarantineRow(name, found, segment, STATES[state], block_offset, stored_ms, count)
            for name, found, segment, state, block_offset, stored_ms, count in rows
        ]

    # How

    async def _read(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Run one statement, which is one state of the index by itself."""
        async with self._reading:
            with _translated(self.path):
                return await _fetch(self._reader, sql, parameters)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[aiosqlite.Connection]:
        """Let several statements read one state of the index. Other reads wait, so be short.

        Without it a facet_id found by one statement could name another facet in the next.
        """
        async with self._reading:
            with _translated(self.path):
                try:
                    await self._reader.execute("BEGIN")
                    yield self._reader
                finally:
                    await self._reader.rollback()

    @asynccontextmanager
    async def _transaction(self, *, synced: bool) -> AsyncIterator[aiosqlite.Connection]:
        """Commit what the block does, whole, or roll it back.

        Safe against cancellation at each await: what was asked of the connection's thread still
        happens there, in the order asked for, and the rollback comes last.
        """
        db = self._writer
        async with self._writing:
            with _translated(self.path):
                try:
                    if synced:
                        await db.execute("PRAGMA synchronous = FULL")
                    await db.execute("BEGIN IMMEDIATE")
                    yield db
                    await db.execute("COMMIT")
                except BaseException:
                    await db.rollback()
                    raise
                finally:
                    if synced:
                        await db.execute("PRAGMA synchronous = NORMAL")


async def _connect(path: str, *, uri: bool = False) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, uri=uri, isolation_level=None)
    try:
        return await connection
    except BaseException:
        # Its thread has yet to tell this loop that it ends; nobody waits for that, and the loop may be
        # closed by then.
        await to_thread(connection._thread.join)
        raise


async def _prepare_writer(writer: aiosqlite.Connection, path: str) -> None:
    # Before anything else, so that a file which isn't ours is left as it was.
    await migrate(writer, path, scripts())
    ((mode,),) = await _fetch(writer, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise ConfigError(f"{path}: SQLite can't use a WAL here; data_dir must be on a local file system")
    for setting in (
        "synchronous = NORMAL",
        f"cache_size = -{_CACHE_KIB}",
        f"journal_size_limit = {_WAL_BYTES_KEPT}",
        f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    ):
        await writer.execute(f"PRAGMA {setting}")


async def _filter_sets(
    db: aiosqlite.Connection, tenant: str, filters: Sequence[tuple[str, str]]
) -> list[int]:
    """Return the ids of the sets to be intersected, the smallest first; none if one doesn't exist."""
    if not filters:
        return [set_id for set_id, _ in await _fetch(db, listing.TENANT_SET, (tenant,))]
    found = await _fetch(db, listing.filter_sets_sql(len(filters)), filter_values(tenant, filters))
    if len(found) < len(filters):
        return []
    return [set_id for set_id, _ in sorted(found, key=lambda row: row[1])]


async def _fetch(
    db: aiosqlite.Connection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
) -> list[Row]:
    # Rows are plain tuples, since no row factory is set; the annotation upstream says otherwise.
    rows: Iterable[Any] = await db.execute_fetchall(sql, parameters)
    return list(rows)


@contextmanager
def _translated(path: str) -> Iterator[None]:
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
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise StorageFailed(f"{path}: {error}") from error
        raise
