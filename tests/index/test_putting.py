"""A group is the same in the index whichever way its blocks went in; the cheap way takes nothing wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rrd.extent import Extent
from rrd.index.rows import Commit, MetadataChange
from rrd.index.sqlite.index import SqliteIndex
from rrd.index.sqlite.putting import NotPlain, put, put_each
from tests.index.index_model import NOW_MS, RECORDINGS, commit, opened, with_metadata, without_events

_Way = Callable[[sqlite3.Connection, list[Commit]], None]


def next_block(row_id: int, *, size: int = 2000, ts: float = 9.0, **extent: int) -> Commit:
    """A block of two events behind the one of ``known``."""
    block = commit(row_id, size=size, recording_id=RECORDINGS[row_id - 1])
    return block._replace(extent=Extent(2, 2, ts, ts + 1, 150, NOW_MS + 5, 0, 0)._replace(**extent))


KNOWN = [
    commit(row_id, recording_id=RECORDINGS[row_id - 1])._replace(block_size=1000) for row_id in (1, 2, 3)
]


def told(tmp_path: Path, name: str, group: list[Commit], way: _Way) -> list[list[tuple[object, ...]]]:
    """Return all rows of an index that knew three recordings, and was told a group in this way."""
    path = f"{tmp_path}/{name}.sqlite"

    async def known() -> None:
        async with opened(path) as index:
            await index.apply(KNOWN)

    asyncio.run(known())
    with closing(sqlite3.connect(path)) as db:
        way(db, group)
        db.commit()
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return [sorted(db.execute(f'SELECT * FROM "{table}"'), key=repr) for table in sorted(tables)]


GROUPS: dict[str, list[Commit]] = {
    "longer segments": [next_block(1), next_block(3), next_block(2, ts=-4.0)],
    "repeats": [next_block(1, duplicate_count=3)],
    "an older time of storing": [next_block(1, stored_ms=NOW_MS - 1)],
    "metadata": [with_metadata(next_block(1), k="v"), with_metadata(next_block(2), k="v", other="w")],
    "a new segment": [next_block(1), next_block(2)._replace(segment=2, segment_size=300)],
    "a new recording": [
        with_metadata(next_block(1), k="v"),
        with_metadata(commit(4, size=300, recording_id=RECORDINGS[3]), k="v"),
    ],
    "no events": [without_events(next_block(1)), next_block(2)],
    "quarantined lines": [next_block(1, quarantine_count=2), next_block(2)],
    "a recording twice": [
        next_block(1),
        next_block(1, size=3000, ts=20.0)._replace(metadata=(MetadataChange("k", "v", 1),)),
    ],
    "nothing": [],
}


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_both_ways_write_the_same(tmp_path: Path, group: list[Commit]) -> None:
    assert told(tmp_path, "put", group, put) == told(tmp_path, "each", group, put_each)


@pytest.mark.parametrize(
    "block",
    [
        next_block(1, size=1000),
        next_block(1)._replace(segment=7),
        next_block(1)._replace(tenant="beta"),
        next_block(1)._replace(recording_id=RECORDINGS[3]),
        next_block(1)._replace(row_id=77),
    ],
    ids=["told twice", "unknown segment", "other tenant", "other id", "unknown row id"],
)
def test_a_block_that_does_not_fit_is_left_to_the_other_way(tmp_path: Path, block: Commit) -> None:
    with pytest.raises(NotPlain):
        told(tmp_path, "put", [next_block(2), block], put)


async def test_a_block_of_a_sealed_segment_and_one_of_a_hidden_recording_are_left_to_it_too(
    tmp_path: Path,
) -> None:
    path = f"{tmp_path}/index.sqlite"
    async with opened(path) as index:
        await index.apply([*KNOWN, without_events(commit(4, recording_id=RECORDINGS[3]), quarantined=1)])
        await index.seal([(1, 1)])
        with closing(sqlite3.connect(path)) as db:
            for row_id in (1, 4):
                with pytest.raises(NotPlain):
                    put(db, [next_block(row_id)])
                db.rollback()
            put(db, [next_block(2)])
            db.rollback()
        await index.apply([next_block(4), next_block(2)])
        await _shows_events(index, {2: 3, 4: 3})


async def _shows_events(index: SqliteIndex, counts: dict[int, int]) -> None:
    for row_id, count in counts.items():
        row = await index.recording("alpha", RECORDINGS[row_id - 1])
        assert row is not None
        assert row.visible
        assert row.extent.event_count == count
