"""The contract on SQLite: each call is a statement or a transaction, in the thread of a connection.

A commit that is not synced is one with ``synchronous=NORMAL``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Self

import orjson

from rrd.index import rows
from rrd.index.contract import Contradiction, Encode, Filters, Index
from rrd.index.sqlite import facets, listing, putting, queries, sorting, summaries, values
from rrd.index.sqlite.connections import Connections
from rrd.index.sqlite.files import index_path
from rrd.index.sqlite.keeping import keep

_WALK_ROW_IDS = 20_000  # Of other tenants' recordings, before another read may have its turn: 5 ms.


class SqliteIndex(Index):
    """An index in an SQLite file. Made by ``SqliteIndex.open``. ``Index`` says what each call does."""

    def __init__(self, connections: Connections, next_row_id: int) -> None:
        """Use ``SqliteIndex.open``."""
        self.path = connections.path
        self.next_row_id = next_row_id
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
        await self._db.close()

    def take_row_id(self) -> int:
        row_id = self.next_row_id
        self.next_row_id += 1
        return row_id

    # Writing

    async def apply(self, commits: Sequence[rows.Commit]) -> None:
        if not commits:
            return
        try:
            await self._db.write_with(partial(putting.put, commits=commits), synced=False)
        except putting.NotPlain:
            await self._db.write_with(partial(putting.put_each, commits=commits), synced=False)

    async def try_write(self) -> None:
        def write_same(db: sqlite3.Connection) -> None:
            ((version,),) = db.execute("PRAGMA user_version")
            db.execute(f"PRAGMA user_version = {version}")

        await self._db.write_with(write_same, synced=False)

    async def seal(self, sealed: Sequence[tuple[int, int]]) -> None:
        if not sealed:
            return

        def mark(db: sqlite3.Connection) -> None:
            if db.executemany(queries.SEAL, sealed).rowcount != len(sealed):
                raise Contradiction("a segment to be sealed is not in the index")

        await self._db.write_with(mark, synced=True)

    async def plan_object(self, row_id: int, first_number: int, last_number: int) -> None:
        run = (row_id, first_number, last_number)
        await self._db.write_with(lambda db: db.execute(queries.PLAN_OBJECT, run), synced=True)

    async def publish_object(
        self,
        row_id: int,
        row: rows.ObjectRow,
        quarantine: Sequence[tuple[int, int, int]],
        summary: rows.SummaryRow | None = None,
    ) -> None:
        def publish(db: sqlite3.Connection) -> None:
            db.execute(queries.PUBLISH_OBJECT, (row_id, *values.published_values(row)))
            db.executemany(
                queries.ADD_QUARANTINE, [(row_id, row.first_number, *block) for block in quarantine]
            )
            summaries.put(db, row_id, summary)

        await self._db.write_with(publish, synced=True)

    async def evicted(self, row_id: int, first_number: int) -> None:
        place = (row_id, first_number)
        await self._db.write_with(lambda db: db.execute(queries.EVICTED, place), synced=False)

    async def add_object(self, commit: rows.ObjectCommit) -> None:
        first = (commit.row_id, commit.object.first_number)

        def add(db: sqlite3.Connection) -> None:
            db.execute(queries.ADD_OBJECT, values.found_values(commit))
            local = [(commit.row_id, row.number, row.size, row.first_ts, row.last_ts) for row in commit.local]
            db.executemany(queries.ADD_ROLLED_SEGMENT, local)
            db.executemany(queries.ADD_QUARANTINE, [(*first, *block) for block in commit.quarantine])
            db.executemany(queries.PUT_METADATA, values.metadata_values(commit))
            summaries.put(db, commit.row_id, commit.summary)

        await self._db.write_with(add, synced=False)

    async def keep(self, kept: rows.Kept) -> None:
        await self._db.write_with(lambda db: keep(db, kept), synced=False)

    async def remove(self, tenant: str, recording_id: str) -> rows.RemovedRecording | None:
        def remove(db: sqlite3.Connection) -> rows.RemovedRecording | None:
            row = db.execute(queries.REMOVED, (tenant, recording_id)).fetchone()
            if row is None:
                return None
            removed = rows.RemovedRecording(*row)
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
        found = await self._db.read(
            queries.TO_ROLL_UP, settled_before_ms=settled_before_ms, full_size=full_size, limit=limit
        )
        return [(row_id, tenant, name) for row_id, tenant, name in found]

    async def to_evict(self, *, published_before_ms: int, limit: int) -> list[rows.EvictRow]:
        found = await self._db.read(queries.TO_EVICT, published_before_ms=published_before_ms, limit=limit)
        return values.evict_rows(found)

    async def oldest(self, *, tenant: str | None, after_row_id: int, limit: int) -> list[rows.AgeRow]:
        if tenant is None:
            found = await self._db.read(queries.OLDEST, after_row_id=after_row_id, limit=limit)
            return [rows.AgeRow(*row) for row in found]
        ages: list[rows.AgeRow] = []
        ((greatest,),) = await self._db.read(queries.GREATEST_ROW_ID)
        while after_row_id < greatest and len(ages) < limit:
            found = await self._db.read(
                queries.OLDEST_OF_TENANT,
                tenant=tenant,
                after_row_id=after_row_id,
                last_row_id=after_row_id + _WALK_ROW_IDS,
                limit=limit - len(ages),
            )
            ages += [rows.AgeRow(*row) for row in found]
            after_row_id += _WALK_ROW_IDS
        return ages

    async def newest_stored_ms(self) -> int | None:
        ((newest,),) = await self._db.read(queries.NEWEST_STORED)
        return None if newest is None else int(newest)

    async def tenants(self) -> list[rows.TenantRow]:
        return [rows.TenantRow(*row) for row in await self._db.read(queries.TENANTS)]

    async def backlog(self) -> rows.Backlog:
        ((segments, size, oldest_stored_ms),) = await self._db.read(queries.BACKLOG)
        return rows.Backlog(segments, size, oldest_stored_ms)

    async def snapshot(self, data_dir: str) -> None:
        await self._db.copy_to(index_path(data_dir))

    async def vacuum(self) -> tuple[int, int]:
        size = os.stat(self.path).st_size
        await self._db.vacuum()
        return size, os.stat(self.path).st_size

    async def recording(self, tenant: str, recording_id: str) -> rows.RecordingRow | None:
        found = await self._db.read(queries.RECORDING, tenant=tenant, recording=recording_id)
        return values.recording_rows([(tenant, recording_id)], found)[0]

    async def recordings(self, names: Sequence[tuple[str, str]]) -> list[rows.RecordingRow | None]:
        def read(db: sqlite3.Connection) -> list[rows.RecordingRow | None]:
            found = db.execute(queries.RECORDINGS, {"names": orjson.dumps(names).decode()})
            return values.recording_rows(names, found)

        # Put together in the reader's thread, too: some have thousands of segments and objects.
        return await self._db.read_with(read)

    async def metadata(self, tenant: str, recording_id: str) -> list[rows.MetadataRow]:
        found = await self._db.read(queries.METADATA, tenant=tenant, recording=recording_id)
        return sorted(
            rows.MetadataRow(values.to_text(key), values.to_text(value), *row) for key, value, *row in found
        )

    async def summary(self, row_id: int) -> rows.SummaryRow | None:
        return await self._db.read_with(lambda db: summaries.read(db, row_id))

    async def list_recordings(
        self, tenant: str, *, filters: Filters, limit: int, offset: int
    ) -> list[rows.ListedRecording]:
        def read(db: sqlite3.Connection) -> list[rows.ListedRecording]:
            row_ids = listing.find_row_ids(db, tenant, filters, limit=limit, offset=offset)
            return [recording for _, recording in listing.read(db, row_ids)[0]]

        return await self._db.read_with(read)

    async def begin_list(
        self,
        tenant: str,
        *,
        filters: Filters,
        limit: int,
        offset: int,
        encode: Encode,
        bytes_max: int,
        wanted: rows.ListQuery | None = None,
    ) -> rows.ListPart:
        if wanted is not None:
            found = await self._search(tenant, filters, wanted, limit=limit, offset=offset)
            return await self.continue_list(found, encode=encode, bytes_max=bytes_max, with_standing=True)

        def begin(db: sqlite3.Connection) -> rows.ListPart:
            row_ids = listing.find_row_ids(db, tenant, filters, limit=limit, offset=offset)
            return listing.read_piece(db, row_ids, encode, bytes_max=bytes_max)

        return await self._db.read_with(begin)

    async def _search(
        self, tenant: str, filters: Filters, wanted: rows.ListQuery, *, limit: int, offset: int
    ) -> list[int]:
        """Return the row ids of a list. Other reads have their turns meanwhile."""
        search = sorting.Search(tenant, filters, wanted, limit=limit, offset=offset)
        while not search.is_done:
            await self._db.read_with(search.step)
        return search.row_ids

    async def continue_list(
        self, row_ids: Sequence[int], *, encode: Encode, bytes_max: int, with_standing: bool = False
    ) -> rows.ListPart:
        def go_on(db: sqlite3.Connection) -> rows.ListPart:
            told = sorting.with_standings(db, row_ids, encode) if with_standing else encode
            return listing.read_piece(db, row_ids, told, bytes_max=bytes_max)

        return await self._db.read_with(go_on)

    async def metadata_keys(self, tenant: str, *, prefix: str, limit: int) -> list[str]:
        return await self._db.read_with(lambda db: facets.keys(db, tenant, prefix, limit))

    async def metadata_values(self, tenant: str, key: str, *, prefix: str, limit: int) -> list[str]:
        return await self._db.read_with(lambda db: facets.values(db, tenant, key, prefix, limit))

    async def statistics(self, tenant: str, *, month_start_ms: int) -> rows.Statistics:
        found = await self._db.read(queries.STATISTICS, tenant=tenant, month_start_ms=month_start_ms)
        return rows.Statistics(*found[0]) if found else rows.Statistics(0, 0, 0)

    async def active_segments(self) -> list[tuple[str, str, int, rows.SegmentRow]]:
        return [
            (*row[:3], values.segment_row(row[3:])) for row in await self._db.read(queries.ACTIVE_SEGMENTS)
        ]

    async def quarantine(self, *, tenant: str | None, recording_id: str | None) -> list[rows.QuarantineRow]:
        sql = queries.QUARANTINE if recording_id is None else queries.QUARANTINE_OF_RECORDING
        found = await self._db.read(sql, tenant=tenant, recording=recording_id)
        return [values.quarantine_row(row) for row in found]
