"""An index of very many recordings, as a daemon has it that has run for months.

Each recording has eight metadata keys, and has gone the whole way: its block was told, its segment sealed,
an object of it planned and published, the local copy evicted. So a start finds nothing to do, and nothing
asks for files that aren't there, as long as no recording is read. Told by the daemon's own statements a
million take six minutes, so ``build`` inserts what these leave behind, row for row the same, as a test shows.
It does so in the order in which recordings come: an index that was filled in the order of its keys would be
smaller than a daemon's.

The values are made to be awkward: some shared by half of everybody, some by a few thousand neighbours in
time, some by one; browser and system depend on each other, so that two filters that each match a fifth may
match nothing together. One recording in a hundred belongs to another tenant.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import os
import random
import sqlite3
import struct
import uuid
from collections.abc import Iterable, Iterator

from bench.daemon import TENANT
from rrd.extent import Extent
from rrd.index import home
from rrd.index.rows import RECORDING_COLUMNS, Commit, MetadataChange, ObjectRow
from rrd.index.sqlite.index import SqliteIndex
from rrd.index.sqlite.values import Row, metadata_values, published_values

NEIGHBOURS = 5000
"""Recordings of one release."""

_OTHER_TENANT = "small"
_CHUNK = 512  # Recordings whose bits stand in one row of a set.
_START_MS = 1_700_000_000_000
_APART_MS = 500
_SEGMENT_BYTES, _OBJECT_BYTES = 5000, 4000


def users(count: int) -> int:
    """Return how many visitors there are among ``count`` recordings."""
    return max(1, count // 4)


def build(data_dir: str, count: int) -> None:
    """Make the index of a data directory that has none."""
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    path = home.index_path(data_dir)
    asyncio.run(_touch(path))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        # Nobody misses it if it is lost half made, so each page is written once.
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
            db.execute(f"PRAGMA {setting}").fetchall()
        db.execute("BEGIN IMMEDIATE")
        # Sets are filled a chunk at a time, not a bit.
        ((trigger,),) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'metadata_gains_facet'")
        db.execute("DROP TRIGGER metadata_gains_facet")
        tables = _Tables(db)
        for _, group in itertools.groupby(commits(count), lambda commit: commit.row_id // _CHUNK):
            tables.add(group)
        tables.add_totals()
        db.execute(trigger)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL").fetchall()
    # A daemon's first syncfs would otherwise have all of it to write.
    with open(path, "rb") as file:
        os.fsync(file)


async def _touch(path: str) -> None:
    await (await SqliteIndex.open(path)).close()


class _Tables:
    """The tables of an index, and what is in them that later rows point to."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._tenants: dict[str, _Totals] = {}
        self._key_ids: dict[bytes, int] = {}
        self._facet_ids: dict[int, int] = {}
        """By digest: two facets with the same one are less likely than one in a million."""

    def add(self, group: Iterable[Commit]) -> None:
        """Add the recordings of one chunk."""
        recordings, objects, standings, facets, metadata = [], [], [], [], []
        members: dict[int, int] = {}
        for commit in group:
            totals = self._tenants.setdefault(commit.tenant, _Totals(len(self._tenants) + 1))
            totals.add(commit)
            recordings.append(_recording_values(commit, totals.tenant_id))
            objects.append((commit.row_id, *published_values(object_of(commit)), 1, 0))
            extent = commit.extent
            duration_ms = (extent.last_ts or 0) - (extent.first_ts or 0)
            standings.append((commit.row_id, totals.tenant_id, duration_ms, extent.raw_size, None, None))
            bit = 1 << commit.row_id % _CHUNK
            for row_id, key, value, digest, at_ms in metadata_values(commit):
                key_id = self._key_ids.setdefault(key, len(self._key_ids) + 1)
                facet_id = self._facet_ids.get(digest)
                if facet_id is None:
                    facet_id = self._facet_ids[digest] = len(self._facet_ids) + 1
                    facets.append((facet_id, digest, totals.tenant_id, key_id, value))
                metadata.append((row_id, key_id, facet_id, 1, at_ms))
                members[facet_id] = members.get(facet_id, 0) | bit
            members[-totals.tenant_id] = members.get(-totals.tenant_id, 0) | bit
        chunk = commit.row_id // _CHUNK
        self._insert("recording", recordings, columns=_RECORDING_COLUMNS)
        self._insert("object", objects, columns=_OBJECT_COLUMNS)
        self._insert("standing", standings)
        self._insert("facet", facets)
        self._insert("metadata", metadata)
        self._insert("members", [(set_id, chunk, *_words(bits)) for set_id, bits in members.items()])

    def add_totals(self) -> None:
        """Add what is known when all recordings are in."""
        self._insert("metadata_key", [(key_id, key) for key, key_id in self._key_ids.items()])
        for name, totals in self._tenants.items():
            recordings = sum(totals.months.values())
            self._insert("tenant", [(totals.tenant_id, name, recordings, totals.storage_bytes)])
            self._insert("month", [(totals.tenant_id, *month) for month in totals.months.items()])

    def _insert(self, table: str, rows: list[Row], *, columns: str = "") -> None:
        if rows:
            places = ", ".join("?" * len(rows[0]))
            self._db.executemany(f"INSERT INTO {table} {columns} VALUES ({places})", rows)


class _Totals:
    """Of one tenant."""

    def __init__(self, tenant_id: int) -> None:
        self.tenant_id = tenant_id
        self.storage_bytes = 0
        self.months: dict[int, int] = {}
        """How many recordings began in each."""

    def add(self, commit: Commit) -> None:
        began = datetime.datetime.fromtimestamp(commit.created_ms / 1000, datetime.UTC)
        month = 100 * began.year + began.month
        self.months[month] = self.months.get(month, 0) + 1
        self.storage_bytes += _OBJECT_BYTES


def _recording_values(commit: Commit, tenant_id: int) -> Row:
    """Return a row of ``recording``: ``_RECORDING_COLUMNS``."""
    return (
        *(commit.row_id, tenant_id, commit.recording_id, commit.created_ms, commit.extent.limit_seq),
        *(1, _OBJECT_BYTES, *(getattr(commit.extent, field) for field in RECORDING_COLUMNS)),
    )


_RECORDING_COLUMNS = f"""(row_id, tenant_id, name, created_ms, next_seq,
                          visible, stored_bytes, {", ".join(RECORDING_COLUMNS.values())})"""
_OBJECT_COLUMNS = """(row_id, first_number, last_number, last_segment_size, first_seq, event_count, size,
                      crc32c, raw_size, first_ts, last_ts, published_ms, state, has_local)"""


def _words(bits: int) -> tuple[int, ...]:
    """Return the eight words of a row of ``members``, signed as SQLite's integers are."""
    return struct.unpack("<8q", bits.to_bytes(64, "little"))


def metadata_of(row_id: int, count: int, choose: random.Random) -> dict[str, str]:
    """Return the metadata of recording ``row_id`` of ``count``."""
    browser = choose.randrange(5)
    return {
        "environment": "production" if row_id % 2 else "staging",
        "plan": "paid" if row_id % 3 else "free",
        "browser": f"browser-{browser}",
        "system": f"system-{(browser + choose.randrange(2)) % 5}",
        "country": f"country-{int(60 * choose.random() ** 3)}",
        "release": f"2024.{row_id // NEIGHBOURS}",
        "userId": f"user-{choose.randrange(users(count)):08d}",
        "sessionId": str(uuid.UUID(int=choose.getrandbits(128))),
    }


def commits(count: int) -> Iterator[Commit]:
    """Yield the one block of each of ``count`` recordings; the same for the same count."""
    choose = random.Random(1)
    for row_id in range(1, count + 1):
        at_ms = _START_MS + row_id * _APART_MS
        metadata = metadata_of(row_id, count, choose)
        yield Commit(
            row_id=row_id,
            tenant=TENANT if row_id % 100 else _OTHER_TENANT,
            recording_id=str(uuid.UUID(int=choose.getrandbits(128), version=4)),
            created_ms=at_ms,
            segment=1,
            segment_size=_SEGMENT_BYTES,
            block_offset=200,
            block_size=_SEGMENT_BYTES,
            extent=Extent(1, 50, float(at_ms), at_ms + 900.5, 50_000, at_ms, 0, 0),
            metadata=tuple(MetadataChange(key, value, at_ms) for key, value in metadata.items()),
        )


def object_of(commit: Commit) -> ObjectRow:
    return ObjectRow.published(
        1,
        1,
        commit.extent,
        last_segment_size=commit.segment_size,
        size=_OBJECT_BYTES,
        crc32c=commit.row_id & 0xFFFF_FFFF,
        published_ms=commit.extent.stored_ms + 600_000,
        has_local=False,
    )
