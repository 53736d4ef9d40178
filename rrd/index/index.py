"""The index: what SQLite knows about recordings, as typed calls on an event loop.

A commit of blocks is not synced (``synchronous=NORMAL``): a power cut may take the newest
transactions away, in order, and recovery reads them from the segments again. Sealing is synced,
since the file is renamed after it, and recovery doesn't look for lost blocks in sealed segments. So are
the steps that a file's end in one place and its beginning in another depend on: planning and publishing an
object, removing a recording. Eviction told twice is harmless.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Self

import orjson

from rrd.errors import BadRequest
from rrd.index import listing, queries
from rrd.index.connections import Connections
from rrd.index.keeping import keep
from rrd.index.rows import (
    AgeRow,
    Backlog,
    Commit,
    EvictRow,
    Kept,
    ListedRecording,
    MetadataRow,
    ObjectCommit,
    ObjectRow,
    QuarantineRow,
    RecordingRow,
    RemovedRecording,
    SegmentRow,
    Statistics,
    TenantRow,
)
from rrd.index.values import (
    block_values,
    evict_rows,
    found_values,
    metadata_values,
    published_values,
    quarantine_row,
    quarantine_values,
    recording_rows,
    rolled_values,
    segment_row,
    to_text,
)

_WALK_ROW_IDS = 20_000  # Of other tenants' recordings, before another read may have its turn: 5 ms.


class Index:
    """The index of one data directory. Made by ``Index.open``, ended by ``close``.

    Calls may overlap: writes take turns, reads see the last finished write. Any call may raise
    ``IndexDamaged`` when SQLite finds the file damaged, ``DiskFull`` or ``StorageFailed`` when
    the disk does not do what it should.
    """

    def __init__(self, connections: Connections, next_row_id: int) -> None:
        """Use ``Index.open``."""
        self.path = connections.path
        self.next_row_id = next_row_id
        """What ``take_row_id`` returns next: at open, 1 + the greatest row id in the index."""
        self._db = connections

    @classmethod
    async def open(cls, path: str) -> Self:
        """Open the index at ``path``; make it if there is none, migrate it if it is old.

        Raises ``IndexDamaged`` if the file is no index, or damaged where that shows at once, or
        written by a newer rrd; ``ConfigError`` if the file system can't hold it.
        """
        connections = await Connections.open(path)
        try:
            ((greatest,),) = await connections.read(queries.GREATEST_ROW_ID)
        except BaseException:
            await connections.close()
            raise
        return cls(connections, greatest + 1)

    async def close(self) -> None:
        """Move everything into the main file and close it. Wait for calls under way, allow none after."""
        await self._db.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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

        def put(db: sqlite3.Connection) -> None:
            db.executemany(queries.PUT_BLOCK, blocks)
            if changes:
                db.executemany(queries.PUT_METADATA, changes)

        await self._db.write_with(put, synced=False)

    async def try_write(self) -> None:
        """Write one page of the index as it is, to learn whether that is possible. Not synced."""

        def write_same(db: sqlite3.Connection) -> None:
            ((version,),) = db.execute("PRAGMA user_version")
            db.execute(f"PRAGMA user_version = {version}")

        await self._db.write_with(write_same, synced=False)

    async def seal(self, sealed: Sequence[tuple[int, int]]) -> None:
        """Mark segments, given as (row_id, number), as sealed: all or none, on disk when this returns.

        Everything applied before is on disk then, too. A segment that is sealed already stays so.
        Raises ``sqlite3.IntegrityError`` if one is not known.
        """
        if not sealed:
            return

        def mark(db: sqlite3.Connection) -> None:
            if db.executemany(queries.SEAL, sealed).rowcount != len(sealed):
                raise sqlite3.IntegrityError("a segment to be sealed is not in the index")

        await self._db.write_with(mark, synced=True)

    async def plan_object(self, row_id: int, first_number: int, last_number: int) -> None:
        """Promise to make one object of exactly the segments ``first_number`` to ``last_number``.

        Synced. Promised already, it stays so. Raises ``sqlite3.IntegrityError`` if these are not all
        sealed, or some of them are in another object.
        """
        run = (row_id, first_number, last_number)
        await self._db.write_with(lambda db: db.execute(queries.PLAN_OBJECT, run), synced=True)

    async def publish_object(
        self, row_id: int, row: ObjectRow, quarantine: Sequence[tuple[int, int, int]]
    ) -> None:
        """Take in that the store has a planned object. Synced.

        Its segments become "rolled"; bytes stored change by its size less theirs. ``quarantine``: its
        blocks that hold quarantined lines, as (offset in the object, stored_ms, line count). ``state`` and
        ``has_local`` of ``row`` are not looked at: it is published now, and its segments are still local.
        Raises ``sqlite3.IntegrityError``, and changes nothing, if no object of that run is planned.
        """

        def publish(db: sqlite3.Connection) -> None:
            db.execute(queries.PUBLISH_OBJECT, (row_id, *published_values(row)))
            db.executemany(queries.ADD_QUARANTINE, quarantine_values(row_id, row.first_number, quarantine))

        await self._db.write_with(publish, synced=True)

    async def evicted(self, row_id: int, first_number: int) -> None:
        """Take in that the local copies of a published object's segments are gone. Not synced.

        Told again, or of an object that is not known or not published, it changes nothing.
        """
        await self._db.write_with(
            lambda db: db.execute(queries.EVICTED, (row_id, first_number)), synced=False
        )

    async def add_object(self, commit: ObjectCommit) -> None:
        """Take in an object that the store was found to have, while a lost index is rebuilt. Not synced.

        Blocks and objects of one recording must be told in order of their segments' numbers, since the last
        metadata told counts. Raises ``sqlite3.IntegrityError``, and changes nothing, if something of its run
        is known already, or the row id or the name belongs to another recording.
        """
        row_id, first_number = commit.row_id, commit.object.first_number

        def add(db: sqlite3.Connection) -> None:
            db.execute(queries.ADD_OBJECT, found_values(commit))
            db.executemany(queries.ADD_ROLLED_SEGMENT, rolled_values(commit))
            db.executemany(queries.ADD_QUARANTINE, quarantine_values(row_id, first_number, commit.quarantine))
            db.executemany(queries.PUT_METADATA, metadata_values(commit))

        await self._db.write_with(add, synced=False)

    async def keep(self, kept: Kept) -> None:
        """Take in what a replaced index knew of a recording and its files no longer show. Not synced.

        To be told after all that the files do show. Nothing that is known already is lessened.
        """
        await self._db.write_with(lambda db: keep(db, kept), synced=False)

    async def remove(self, tenant: str, recording: str) -> RemovedRecording | None:
        """Forget all of a recording, and tell what there was; None if it is not known. Synced.

        What it had is overwritten in the file, and soon after, by itself, in SQLite's log too. The
        row id may be used again after the index has been opened anew. Nobody may ``apply`` blocks of it any
        more: they would make it anew.
        """

        def remove(db: sqlite3.Connection) -> RemovedRecording | None:
            row = db.execute(queries.REMOVED, (tenant, recording)).fetchone()
            if row is None:
                return None
            removed = RemovedRecording(*row)
            db.execute(queries.REMOVE, (removed.row_id,))
            return removed

        try:
            return await self._db.write_with(remove, synced=True)
        finally:
            # Whatever became of it: cancelled, it happens all the same.
            self._db.scrub()

    # Reading

    async def to_roll_up(
        self, *, settled_before_ms: int, full_size: int, limit: int
    ) -> list[tuple[int, str, str]]:
        """Return recordings with work for the roll-up, as (row id, tenant, recording), oldest first.

        They have sealed segments, and besides: nothing was stored after ``settled_before_ms``, or one of
        these segments has ``full_size`` bytes or more, or an object is planned.
        """
        parameters = {"settled_before_ms": settled_before_ms, "full_size": full_size, "limit": limit}
        rows = await self._db.read(queries.TO_ROLL_UP, parameters)
        return [(row_id, tenant, name) for row_id, tenant, name in rows]

    async def to_evict(self, *, published_before_ms: int, limit: int) -> list[EvictRow]:
        """Return objects published at ``published_before_ms`` or before with local copies, oldest first."""
        parameters = {"published_before_ms": published_before_ms, "limit": limit}
        return evict_rows(await self._db.read(queries.TO_EVICT, parameters))

    async def oldest(self, *, tenant: str | None, after_row_id: int, limit: int) -> list[AgeRow]:
        """Return recordings, visible or not, in order of creation: a page of up to ``limit``.

        The next page comes after the last row id of this one. ``tenant`` None stands for any.
        """
        if tenant is None:
            rows = await self._db.read(queries.OLDEST, {"after_row_id": after_row_id, "limit": limit})
            return [AgeRow(*row) for row in rows]
        found: list[AgeRow] = []
        ((greatest,),) = await self._db.read(queries.GREATEST_ROW_ID)
        while after_row_id < greatest and len(found) < limit:
            parameters = {"tenant": tenant, "limit": limit - len(found)}
            parameters |= {"after_row_id": after_row_id, "last_row_id": after_row_id + _WALK_ROW_IDS}
            found += [AgeRow(*row) for row in await self._db.read(queries.OLDEST_OF_TENANT, parameters)]
            after_row_id += _WALK_ROW_IDS
        return found

    async def all_recordings(self, *, after_row_id: int, limit: int) -> list[tuple[int, str, str]]:
        """Return recordings, visible or not, as (row id, tenant, recording): a page, as in ``oldest``."""
        rows = await self._db.read(queries.ALL_RECORDINGS, (after_row_id, limit))
        return [(row_id, tenant, name) for row_id, tenant, name in rows]

    async def newest_stored_ms(self) -> int | None:
        """Return when anything was stored last (wall clock); None if nothing is stored. Full scan."""
        ((newest,),) = await self._db.read(queries.NEWEST_STORED)
        return None if newest is None else int(newest)

    async def tenants(self) -> list[TenantRow]:
        """Return the tenants that have anything stored, by name."""
        return [TenantRow(*row) for row in await self._db.read(queries.TENANTS)]

    async def backlog(self) -> Backlog:
        """Return how much is sealed and in no published object yet."""
        ((segments, size, oldest_stored_ms),) = await self._db.read(queries.BACKLOG)
        return Backlog(segments, size, oldest_stored_ms)

    async def snapshot(self, path: str) -> None:
        """Write a copy of the index to ``path``, as of one moment, while others read and write.

        It is a whole index that ``Index.open`` takes, and not synced. Raises ``FileExistsError`` if there is
        something at ``path``. If it fails or is cancelled, nothing is left there.
        """
        await self._db.copy_to(path)

    async def vacuum(self) -> None:
        """Write the index anew without unused parts, in which scraps of removed values may be left.

        Needs room for a copy of it. For a stopped daemon: other calls wait.
        """
        await self._db.vacuum()

    async def is_empty(self) -> bool:
        """Tell whether no recording is known at all."""
        ((empty,),) = await self._db.read(queries.IS_EMPTY)
        return bool(empty)

    async def recording(self, tenant: str, recording: str) -> RecordingRow | None:
        """Return what is known of a recording, visible or not; None if nothing is."""
        rows = await self._db.read(queries.RECORDING, {"tenant": tenant, "recording": recording})
        return recording_rows([(tenant, recording)], rows)[0]

    async def recordings(self, names: Sequence[tuple[str, str]]) -> list[RecordingRow | None]:
        """Return what is known of each (tenant, recording), as ``recording`` does: all in one state."""
        rows = await self._db.read(queries.RECORDINGS, {"names": orjson.dumps(names).decode()})
        return recording_rows(names, rows)

    async def metadata(self, tenant: str, recording: str) -> list[MetadataRow]:
        """Return a recording's metadata, sorted by key; nothing for an unknown recording."""
        rows = await self._db.read(queries.METADATA, {"tenant": tenant, "recording": recording})
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
        wanted = _different(filters)
        return await self._db.read_with(
            lambda db: listing.find(db, tenant, wanted, limit=limit, offset=offset)
        )

    async def begin_list(
        self,
        tenant: str,
        *,
        filters: Sequence[tuple[str, str]],
        limit: int,
        offset: int,
        encode: Callable[[ListedRecording], bytes],
        bytes_max: int,
    ) -> listing.Piece:
        """Return the first piece of what ``list_recordings`` would, encoded in the index's thread.

        ``bytes_max``: no further recording is added from there on. Raises like ``list_recordings``.
        """
        wanted = _different(filters)

        def begin(db: sqlite3.Connection) -> listing.Piece:
            row_ids = listing.find_row_ids(db, tenant, wanted, limit=limit, offset=offset)
            return listing.read_piece(db, row_ids, encode, bytes_max=bytes_max)

        return await self._db.read_with(begin)

    async def continue_list(
        self, row_ids: Sequence[int], *, encode: Callable[[ListedRecording], bytes], bytes_max: int
    ) -> listing.Piece:
        """Return the next piece of a list: of the ``rest`` of the last one, as far as that is still there."""
        return await self._db.read_with(
            lambda db: listing.read_piece(db, row_ids, encode, bytes_max=bytes_max)
        )

    async def statistics(self, tenant: str, *, month_start_ms: int) -> Statistics:
        """Return a tenant's counters; all 0 for an unknown one.

        The month is the one (UTC) that ``month_start_ms`` lies in. Recordings count when they
        are visible, bytes always.
        """
        parameters = {"tenant": tenant, "month_start_ms": month_start_ms}
        for row in await self._db.read(queries.STATISTICS, parameters):
            return Statistics(*row)
        return Statistics(0, 0, 0)

    async def active_segments(self) -> list[tuple[str, str, int, SegmentRow]]:
        """Return all segments not sealed, as (tenant, recording, row id, segment), oldest recording first."""
        return [(*row[:3], segment_row(row[3:])) for row in await self._db.read(queries.ACTIVE_SEGMENTS)]

    async def quarantine(self, *, tenant: str | None, recording: str | None) -> list[QuarantineRow]:
        """Return the blocks that hold quarantined lines, by recording and place; None stands for any."""
        sql = queries.QUARANTINE if recording is None else queries.QUARANTINE_OF_RECORDING
        rows = await self._db.read(sql, {"tenant": tenant, "recording": recording})
        return [quarantine_row(row) for row in rows]


def _different(filters: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return filters without repetitions. Raises ``BadRequest`` if there are too many."""
    wanted = list(dict.fromkeys(filters))
    if len(wanted) > listing.FILTERS_MAX:
        raise BadRequest(
            f"at most {listing.FILTERS_MAX} filters are possible",
            code="too_many_filters",
            parameter="meta",
        )
    return wanted
