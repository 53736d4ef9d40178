"""An index of very many recordings, as a daemon has it that has run for months.

Each recording has eight metadata keys, and has gone the whole way through the statements that the daemon
uses: its block was told, its segment sealed, an object of it planned and published, the local copy evicted.
So a start finds nothing to do, and nothing asks for files that aren't there, as long as no recording is read.

The values are made to be awkward: some shared by half of everybody, some by a few thousand neighbours in
time, some by one; browser and system depend on each other, so that two filters that each match a fifth may
match nothing together. One recording in a hundred belongs to another tenant.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import uuid
from collections.abc import Iterator

from bench.daemon import TENANT
from rrd import layout
from rrd.index import queries
from rrd.index.index import Index
from rrd.index.rows import Commit, MetadataChange, ObjectRow
from rrd.index.values import block_values, metadata_values, published_values

NEIGHBOURS = 5000
"""Recordings of one release."""

_OTHER_TENANT = "small"
_GROUP = 200  # Blocks in a transaction: a busy second's commit group.
_START_MS = 1_700_000_000_000
_APART_MS = 500
_SEGMENT_BYTES, _OBJECT_BYTES = 5000, 4000


def users(count: int) -> int:
    """Return how many visitors there are among ``count`` recordings."""
    return max(1, count // 4)


def build(data_dir: str, count: int) -> None:
    """Make the index of a data directory that has none."""
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    path = layout.index_path(data_dir)
    asyncio.run(_touch(path))
    db = sqlite3.connect(path, isolation_level=None)
    for setting in ("synchronous = OFF", "cache_size = -262144", "wal_autocheckpoint = 4000"):
        db.execute(f"PRAGMA {setting}")
    source = commits(count)
    while group := [commit for _, commit in zip(range(_GROUP), source, strict=False)]:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(queries.PUT_BLOCK, map(block_values, group))
        db.executemany(queries.PUT_METADATA, [row for commit in group for row in metadata_values(commit)])
        db.executemany(queries.SEAL, [(commit.row_id, 1) for commit in group])
        db.executemany(queries.PLAN_OBJECT, [(commit.row_id, 1, 1) for commit in group])
        db.executemany(
            queries.PUBLISH_OBJECT,
            [(commit.row_id, *published_values(_object_of(commit))) for commit in group],
        )
        db.executemany(queries.EVICTED, [(commit.row_id, 1) for commit in group])
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


async def _touch(path: str) -> None:
    await (await Index.open(path)).close()


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
            recording=str(uuid.UUID(int=choose.getrandbits(128), version=4)),
            created_ms=at_ms,
            segment=1,
            segment_size=_SEGMENT_BYTES,
            block_offset=200,
            stored_ms=at_ms,
            next_seq=51,
            event_count=50,
            first_ts=float(at_ms),
            last_ts=at_ms + 900.5,
            raw_size=50_000,
            block_size=_SEGMENT_BYTES,
            duplicate_count=0,
            quarantine_count=0,
            metadata=tuple(MetadataChange(key, value, at_ms) for key, value in metadata.items()),
        )


def _object_of(commit: Commit) -> ObjectRow:
    return ObjectRow(
        first_number=1,
        last_number=1,
        last_segment_size=commit.segment_size,
        first_seq=1,
        event_count=commit.event_count,
        size=_OBJECT_BYTES,
        crc32c=commit.row_id & 0xFFFF_FFFF,
        raw_size=commit.raw_size,
        first_ts=commit.first_ts,
        last_ts=commit.last_ts,
        state="published",
        published_ms=commit.stored_ms + 600_000,
        has_local=False,
    )
