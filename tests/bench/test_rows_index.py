"""Rows 10 and 11: do they run, and are their scenes what they say? Nothing is timed."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench.daemon import TENANT
from bench.result import Options
from bench.rows import listing, many_recordings, start
from bench.rows.left_behind import Ending, LeftBehind, Size, leave
from bench.rows.starts import Started, stop_hard
from bench.rows.starts import start as start_daemon
from rrd import layout
from rrd.index import home
from rrd.index.sqlite.index import SqliteIndex

COUNT = 1100


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    data_dir = str(tmp_path_factory.mktemp("built") / "data")
    many_recordings.build(data_dir, COUNT)
    return data_dir


async def test_a_built_index_leaves_a_start_nothing_to_do(built: str) -> None:
    index = await SqliteIndex.open(home.index_path(built))
    try:
        assert await index.active_segments() == []
        assert (await index.backlog()).segments == 0
        assert await index.to_evict(published_before_ms=2**62, limit=10) == []
        tenants = {row.name: row.recordings for row in await index.tenants()}
        assert tenants == {TENANT: COUNT - COUNT // 100, "small": COUNT // 100}
    finally:
        await index.close()


@pytest.mark.slow
async def test_a_built_index_is_row_for_row_what_a_daemon_would_have_written(
    built: str, tmp_path: Path
) -> None:
    path = f"{tmp_path}/index.sqlite"
    index = await SqliteIndex.open(path)
    try:
        for commit in many_recordings.commits(COUNT):
            await index.apply([commit])
            await index.seal([(commit.row_id, 1)])
            await index.plan_object(commit.row_id, 1, 1)
            await index.publish_object(commit.row_id, many_recordings.object_of(commit), ())
            await index.evicted(commit.row_id, 1)
    finally:
        await index.close()
    assert contents(home.index_path(built)) == contents(path)


def contents(path: str) -> dict[str, list[tuple[object, ...]]]:
    """Return the schema, and all rows of all tables in the order of their keys."""
    with closing(sqlite3.connect(path)) as db:
        found = {"schema": db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()}
        tables = [name for kind, name, _ in found["schema"] if kind == "table"]
        return found | {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in tables}


async def test_filters_find_what_the_metadata_say(built: str) -> None:
    index = await SqliteIndex.open(home.index_path(built))
    try:
        filters = [("environment", "production"), ("plan", "free")]
        listed = await index.list_recordings(TENANT, filters=filters, limit=1000, offset=0)
    finally:
        await index.close()
    expected = [
        commit.recording_id
        for commit in many_recordings.commits(COUNT)
        if commit.tenant == TENANT and commit.row_id % 2 and not commit.row_id % 3
    ]
    assert [entry.recording_id for entry in listed] == expected[::-1]


async def test_what_is_asked_finds_what_it_claims_to(built: str) -> None:
    index = await SqliteIndex.open(home.index_path(built))
    try:
        for ask in listing.asks(COUNT, 5, random.Random(1)):
            if ask.is_empty is None:
                continue
            filters, offset = listing_parameters(ask.path)
            assert len(filters) == 2
            listed = await index.list_recordings(TENANT, filters=filters, limit=50, offset=offset)
            assert ask.is_empty == (not listed), ask
    finally:
        await index.close()


def listing_parameters(path: str) -> tuple[list[tuple[str, str]], int]:
    from urllib.parse import parse_qsl, urlsplit

    query = parse_qsl(urlsplit(path).query)
    offset = next((int(value) for name, value in query if name == "offset"), 0)
    return [(name[5:-1], value) for name, value in query if name.startswith("meta[")], offset


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert listing.percentile(values, 0.0) == 1.0
    assert listing.percentile(values, 0.5) == 51.0
    assert listing.percentile(values, 0.99) == 100.0
    assert listing.percentile([7.0], 1.0) == 7.0


@pytest.mark.slow
def test_row_10_runs() -> None:
    row = listing.measure(Options("smoke"))
    assert row.number == 10
    assert len([check for check in row.checks if check.bar is not None]) == 2
    assert all(check.value > 0 for check in row.checks)
    assert len(row.rates) == 2 * len({ask.case for ask in listing.asks(500, 1, random.Random(0))})
    assert any("500" in note for note in row.notes)


@pytest.mark.slow
def test_row_11_runs() -> None:
    row = start.measure(Options("smoke"))
    assert row.number == 11
    assert [check.bar for check in row.checks].count(start.READY_BAR_S) == 2
    assert all(check.value > 0 for check in row.checks if check.unit == "s")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> LeftBehind:
    return leave(str(tmp_path_factory.mktemp("left")), Size(active=20, sealed=3, sealed_bytes=100_000))


def started_on(left: LeftBehind, ending: Ending) -> Started:
    left.put_back(ending)
    found = start_daemon(left.data_dir, core=None)
    stop_hard(found)
    return found


@pytest.mark.slow
def test_each_start_finds_the_same_again(left: LeftBehind) -> None:
    assert left.torn == 2
    endings: tuple[Ending, ...] = ("killed", "power cut", "power cut", "killed")
    for ending in endings:
        start.check(left, ending, started_on(left, ending).recovered)


def test_a_start_that_finds_something_else_is_refused(left: LeftBehind) -> None:
    with pytest.raises(RuntimeError, match="has found"):
        start.check(left, "power cut", started_on(left, "killed").recovered)


def test_the_backlog_is_as_large_as_it_says_and_takes_no_room(left: LeftBehind) -> None:
    paths = [path for path in Path(layout.sealed_root(left.data_dir)).rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in paths] == [100_000] * 3
    assert sum(path.stat().st_blocks * 512 for path in paths) < 100_000
    active = sum(entry.stat().st_size for entry in os.scandir(layout.active_dir(left.data_dir)))
    assert left.bytes == 300_000 + active

    async def backlog() -> int:
        index = await SqliteIndex.open(home.index_path(left.data_dir))
        try:
            return (await index.backlog()).bytes
        finally:
            await index.close()

    left.put_back("killed")
    assert asyncio.run(backlog()) == 300_000
