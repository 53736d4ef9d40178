"""SQLite's index gives the answers of a naive model, whatever comes, fails or is cut off."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import shutil
import sqlite3
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.errors import BadRequest, ConfigError, IndexDamaged, StorageFailed
from rrd.index.rows import (
    ListedRecording,
)
from rrd.index.sqlite import listing
from rrd.index.sqlite.index import SqliteIndex
from rrd.index.sqlite.migrations import FIRST_VERSION, scripts
from rrd.index.sqlite.values import digest
from tests.index.index_model import (
    MONTH_MS,
    NOW_MS,
    RECORDINGS,
    TENANTS,
    UUID,
    Model,
    Step,
    assert_same,
    commit,
    filters,
    groups,
    in_new_directory,
    live_on,
    opened,
    rebuild,
    steps,
    with_metadata,
)
from tests.index.test_contract import an_object
from tests.thoroughness import examples


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def shorten(path: str, share: float) -> None:
    os.truncate(path, int(os.path.getsize(path) * share))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/index.sqlite"


@pytest.fixture
async def index(path: str) -> AsyncIterator[SqliteIndex]:
    async with opened(path) as index:
        yield index


# Against the model


@given(groups, st.randoms(use_true_random=False))
@settings(max_examples=examples(40), deadline=None)
def test_answers_are_those_of_a_naive_model(workload: list[list[Step]], rnd: random.Random) -> None:
    async def proof(path: str) -> None:
        model = Model()
        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
                await live_on(index, model, rnd)
                await assert_same(index, model)
        async with opened(path) as index:
            await assert_same(index, model)
            greatest = max((entry.row_id for entry in model.recordings.values()), default=0)
            assert index.next_row_id == greatest + 1

    in_new_directory(proof)


@given(groups, st.randoms(use_true_random=False))
@settings(max_examples=examples(25), deadline=None)
def test_index_told_anew_what_there_is_says_the_same(workload: list[list[Step]], rnd: random.Random) -> None:
    async def proof(path: str) -> None:
        model = Model()
        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
                await live_on(index, model, rnd)
        async with opened(f"{path}.anew") as index:
            await rebuild(index, model)
            await assert_same(index, model)
            # And it goes on from there.
            await live_on(index, model, rnd)
            await assert_same(index, model)
        assert _sets(f"{path}.anew") == _expected_sets(model)

    in_new_directory(proof)


@given(groups, st.lists(st.tuples(filters, st.integers(0, 5), st.integers(0, 5)), min_size=5, max_size=20))
@settings(max_examples=examples(40), deadline=None)
def test_filtered_lists_are_those_of_a_naive_model(
    workload: list[list[Step]], questions: list[tuple[list[tuple[str, str]], int, int]]
) -> None:
    async def proof(path: str) -> None:
        model = Model()
        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
            for entry in model.recordings.values():
                # Questions that have an answer, too.
                values = [(row.key, row.value) for row in entry.metadata.values()]
                questions.extend([(values[:1], 5, 0), (values, 5, 0)])
            for tenant in TENANTS:
                for wanted, limit, offset in questions:
                    listed = await index.list_recordings(tenant, filters=wanted, limit=limit, offset=offset)
                    assert listed == model.list_recordings(tenant, wanted, limit, offset)

    in_new_directory(proof)


@given(groups, st.randoms(use_true_random=False))
@settings(max_examples=examples(25), deadline=None)
def test_facets_and_sets_are_exactly_those_in_use(workload: list[list[Step]], rnd: random.Random) -> None:
    """Values that nobody has any more must not pile up: a page's address changes with each page."""

    async def proof(path: str) -> None:
        model = Model()
        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
                await live_on(index, model, rnd)
        assert _sets(path) == _expected_sets(model)

    in_new_directory(proof)


@given(groups, st.randoms(use_true_random=False))
@settings(max_examples=examples(20), deadline=None)
def test_removing_everything_leaves_nothing(workload: list[list[Step]], rnd: random.Random) -> None:
    async def proof(path: str) -> None:
        model = Model()
        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
                await live_on(index, model, rnd)
            for tenant, recording_id in list(model.recordings):
                assert await index.remove(tenant, recording_id) == model.remove(tenant, recording_id)
            await assert_same(index, model)
        with closing(sqlite3.connect(path)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            left = {name for name in tables if db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall()}
            assert left <= {"tenant", "metadata_key"}
            counters = set(db.execute("SELECT recordings, storage_bytes FROM tenant"))
            assert counters <= {(0, 0)}

    in_new_directory(proof)


def _expected_sets(
    model: Model,
) -> tuple[dict[tuple[str, bytes | None, bytes], set[int]], dict[str, set[int]]]:
    in_use: dict[tuple[str, bytes | None, bytes], set[int]] = {}
    visible: dict[str, set[int]] = {}
    for entry in model.recordings.values():
        if entry.visible:
            visible.setdefault(entry.tenant, set()).add(entry.row_id)
        for row in entry.metadata.values():
            pair = (row.key.encode("utf-8", "surrogatepass"), row.value.encode("utf-8", "surrogatepass"))
            in_use.setdefault((entry.tenant, *pair), set()).add(entry.row_id)
        for url in entry.summary.urls if entry.summary else ():
            place = (entry.tenant, None, url.encode("utf-8", "surrogatepass"))
            in_use.setdefault(place, set()).add(entry.row_id)
    return in_use, visible


def _sets(path: str) -> tuple[dict[tuple[str, bytes | None, bytes], set[int]], dict[str, set[int]]]:
    """Read the filter sets by themselves, bit by bit: those of facets, those of tenants.

    A url's facet has no key.
    """
    with closing(sqlite3.connect(path)) as db:
        members: dict[int, set[int]] = {}
        for set_id, chunk, *words in db.execute("SELECT * FROM members"):
            row_ids = {
                (8 * chunk + place) * 64 + bit
                for place, word in enumerate(words)
                for bit in range(64)
                if word >> bit & 1
            }
            assert row_ids, "a row without a bit"
            members.setdefault(set_id, set()).update(row_ids)
        facets = db.execute(
            "SELECT facet_id, name, key, value"
            "  FROM facet JOIN tenant USING (tenant_id) LEFT JOIN metadata_key USING (key_id)"
        )
        of_facets = {tuple(names): members.pop(facet_id) for facet_id, *names in facets}
        tenants = db.execute("SELECT tenant_id, name FROM tenant")
        of_tenants = {name: members.pop(-tenant_id) for tenant_id, name in tenants if -tenant_id in members}
    assert members == {}, "members of sets that don't exist"
    return of_facets, of_tenants


# Meaning


async def test_facets_with_equal_digests_are_told_apart(path: str) -> None:
    wanted = [("k", "sought")]
    async with opened(path) as index:
        await index.apply(
            [
                with_metadata(commit(1), k="another value"),
                with_metadata(commit(2, recording_id=RECORDINGS[1]), another_key="sought"),
                with_metadata(commit(3, tenant="beta"), k="sought"),
            ]
        )
    with closing(sqlite3.connect(path)) as db, db:
        # As if all that there is collided with what is to come.
        db.execute("UPDATE facet SET digest = ?", (digest("alpha", b"k", b"sought"),))
    async with opened(path) as index:
        assert await index.list_recordings("alpha", filters=wanted, limit=50, offset=0) == []
        await index.apply([with_metadata(commit(4, recording_id=RECORDINGS[2]), k="sought")])
        (listed,) = await index.list_recordings("alpha", filters=wanted, limit=50, offset=0)
        assert listed == ListedRecording(RECORDINGS[2], NOW_MS, {"k": "sought"})
        await index.apply([with_metadata(commit(1, size=2000), k="sought")])
        listed_both = await index.list_recordings("alpha", filters=wanted, limit=50, offset=0)
        assert [entry.recording_id for entry in listed_both] == [RECORDINGS[2], RECORDINGS[0]]


async def test_row_ids_are_never_given_twice(path: str) -> None:
    async with opened(path) as index:
        assert [index.take_row_id(), index.take_row_id(), index.take_row_id()] == [1, 2, 3]
        await index.apply([commit(3)])
    async with opened(path) as index:
        assert index.take_row_id() == 4


async def test_more_filters_than_can_be_joined_are_refused(index: SqliteIndex) -> None:
    block = with_metadata(commit(), **{f"k{i}": "v" for i in range(listing.FILTERS_MAX)})
    await index.apply([block])
    wanted = [(f"k{i}", "v") for i in range(listing.FILTERS_MAX)]
    assert len(await index.list_recordings("alpha", filters=wanted, limit=50, offset=0)) == 1
    # The same filter again is no other filter.
    assert len(await index.list_recordings("alpha", filters=wanted + wanted, limit=50, offset=0)) == 1
    with pytest.raises(BadRequest, match="at most 50 filters"):
        await index.list_recordings("alpha", filters=[*wanted, ("more", "v")], limit=50, offset=0)


async def test_one_statement_reads_no_more_of_a_list_than_is_wanted(index: SqliteIndex) -> None:
    """However much metadata the others have: it is never in memory together."""
    ids = [str(uuid.UUID(int=number, version=4)) for number in range(1, 41)]
    values = {row_id: "\x01é" * (300 * (row_id % 7)) for row_id in range(1, 41)}
    await index.apply(
        [
            with_metadata(commit(row_id, recording_id=recording_id), text=values[row_id])
            for row_id, recording_id in enumerate(ids, start=1)
        ]
    )
    await index.remove("alpha", ids[9])
    row_ids = list(range(40, 0, -1))
    sizes = {row_id: 8 * len(values[row_id]) // 2 + 100 for row_id in row_ids}

    def look(db: sqlite3.Connection) -> None:
        for bytes_max in (1, 1000, 5000, 20_000, 10**6):
            rest = row_ids
            seen: list[int] = []
            while rest:
                found, count = listing.read(db, rest, bytes_max=bytes_max)
                assert 1 <= count <= len(rest)
                looked_at = [row_id for row_id in rest[:count] if row_id != 10]
                assert [row_id for row_id, _ in found] == looked_at
                assert sum(sizes[row_id] for row_id in looked_at[:-1]) < bytes_max + 100 * len(looked_at)
                assert all(recording.metadata == {"text": values[row_id]} for row_id, recording in found)
                seen, rest = seen + looked_at, rest[count:]
            assert seen == [row_id for row_id in row_ids if row_id != 10]

    await index._db.read_with(look)


# All or nothing


@given(st.lists(steps, min_size=1, max_size=4), st.lists(steps, min_size=1, max_size=4), st.integers(0, 12))
@settings(max_examples=examples(40), deadline=None)
def test_cancelled_apply_is_whole_or_nothing(first: list[Step], second: list[Step], turns: int) -> None:
    async def proof(path: str) -> None:
        without, whole = Model(), Model()
        commits = without.apply_steps(first)
        whole.apply_steps(first)
        cancelled = whole.apply_steps(second)
        async with opened(path) as index:
            await index.apply(commits)
            task = asyncio.create_task(index.apply(cancelled))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            # Wait for the writer: whatever the cancelled call still does comes before this.
            await index.seal([(commits[0].row_id, commits[0].segment)])
            seen = [await index.recording(tenant, name) for tenant in TENANTS for name in RECORDINGS]
            whole.seal(commits[0].row_id, commits[0].segment)
            without.seal(commits[0].row_id, commits[0].segment)
            expected = [whole.recording(tenant, name) for tenant in TENANTS for name in RECORDINGS]
            await assert_same(index, whole if seen == expected else without)

    in_new_directory(proof)


@given(groups, st.randoms(use_true_random=False), st.floats(0, 1))
@settings(max_examples=examples(30), deadline=None)
def test_crash_leaves_a_whole_number_of_steps(
    workload: list[list[Step]], rnd: random.Random, cut: float
) -> None:
    """What a power cut leaves: the main file as last checkpointed, and a WAL cut off anywhere."""

    async def proof(path: str) -> None:
        model = Model()
        states = [copy.deepcopy(model)]

        def after_each() -> None:
            states.append(copy.deepcopy(model))

        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
                after_each()
                # Removing moves the WAL into the main file, at moments of its own.
                await live_on(index, model, rnd, removes=False, after_each=after_each)
            os.mkdir(f"{path}.d")
            crashed = f"{path}.d/index.sqlite"
            shutil.copy(path, crashed)
            shutil.copy(f"{path}-wal", f"{crashed}-wal")
        shorten(f"{crashed}-wal", cut)
        async with opened(crashed) as index:
            found = [await index.recording(tenant, name) for tenant in TENANTS for name in RECORDINGS]
            if cut == 1:
                states = states[-1:]
            same = [
                state
                for state in states
                if found == [state.recording(tenant, name) for tenant in TENANTS for name in RECORDINGS]
            ]
            assert same
            await assert_same(index, same[-1])

    in_new_directory(proof)


async def test_steps_that_files_depend_on_are_synced_and_applying_is_not(index: SqliteIndex) -> None:
    await index.apply([commit()])
    statements: list[str] = []
    await index._db.writer.set_trace_callback(statements.append)
    await index.apply([commit(size=2000)])
    assert not any("synchronous" in statement for statement in statements)
    synced = [
        index.seal([(1, 1)]),
        index.plan_object(1, 1, 1),
        index.publish_object(1, an_object(1, 1), ()),
        index.remove("alpha", UUID),
    ]
    for call in synced:
        statements.clear()
        await call
        assert statements[:2] == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"]
        assert statements[-2:] == ["COMMIT", "PRAGMA synchronous = NORMAL"]


async def test_reads_do_not_wait_for_a_write_under_way(index: SqliteIndex) -> None:
    await index.apply([commit()])
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def write(db: sqlite3.Connection) -> None:
        db.execute("UPDATE segment SET size = 5")
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(10)

    writing = asyncio.create_task(index._db.write_with(write, synced=False))
    await begun.wait()
    (row,) = await index.active_segments()
    assert row[3].size == 1000
    may_end.set()
    await writing


# Objects and removal


async def test_oldest_of_a_tenant_walks_over_any_number_of_others(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rrd.index.sqlite.index._WALK_ROW_IDS", 3)
    names = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 30)]
    mine = (2, 3, 4, 17, 29)
    await index.apply(
        [
            commit(row_id, recording_id=name, tenant="beta" if row_id in mine else "alpha")
            for row_id, name in enumerate(names, start=1)
        ]
    )
    for limit in (1, 2, 3, 5, 9):
        for after in range(30):
            page = await index.oldest(tenant="beta", after_row_id=after, limit=limit)
            assert [row.row_id for row in page] == [row_id for row_id in mine if row_id > after][:limit]


# Files that are not what they should be


async def test_newer_version_is_refused_and_left_alone(path: str) -> None:
    async with opened(path) as index:
        await index.apply([commit()])
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {FIRST_VERSION + len(scripts())}")
    before = read(path)
    with pytest.raises(IndexDamaged, match=r"newer rrd.*rrd reindex"):
        await SqliteIndex.open(path)
    assert read(path) == before


async def test_database_of_another_program_is_refused_and_left_alone(path: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE diary (entry TEXT)")
    before = read(path)
    with pytest.raises(IndexDamaged, match="not an index of rrd"):
        await SqliteIndex.open(path)
    assert read(path) == before


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_garbage_is_damage(path: str, content: bytes) -> None:
    write(path, content)
    with pytest.raises(IndexDamaged, match="rrd reindex"):
        await SqliteIndex.open(path)
    assert read(path) == content


async def test_empty_file_is_a_new_index(path: str) -> None:
    write(path, b"")
    async with opened(path) as index:
        assert index.next_row_id == 1


async def test_index_cut_in_half_is_damage(path: str) -> None:
    async with opened(path) as index:
        await index.apply([with_metadata(commit(), k="v" * 50_000)])
    shorten(path, 0.5)
    with pytest.raises(IndexDamaged):
        await SqliteIndex.open(path)


async def test_damage_found_later_is_damage_too(path: str) -> None:
    async with opened(path) as index:
        await index.apply([with_metadata(commit(), k="v")])
    with closing(sqlite3.connect(path)) as db:
        ((page,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'metadata'")
        ((page_size,),) = db.execute("PRAGMA page_size")
    content = read(path)
    offset = (page - 1) * page_size
    write(path, content[:offset] + b"\xff" * page_size + content[offset + page_size :])
    async with opened(path) as index:
        with pytest.raises(IndexDamaged):
            await index.metadata("alpha", UUID)
        with pytest.raises(IndexDamaged):
            await index.apply([with_metadata(commit(size=2000), k="w")])
        assert (await index.statistics("alpha", month_start_ms=MONTH_MS)).recordings == 1


async def test_lost_main_file_starts_over_whatever_wal_it_left(path: str) -> None:
    """Deleting ``index.sqlite`` alone, after a crash, must not bring pages of the old one back."""
    async with opened(path) as index:
        await index.apply([commit()])
        stale = read(f"{path}-wal")
    os.unlink(path)
    write(f"{path}-wal", stale)
    async with opened(path) as index:
        assert index.next_row_id == 1
        await index.apply([commit()])
    async with opened(path) as index:
        assert index.next_row_id == 2


async def test_directory_that_is_not_there_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="unable to open"):
        await SqliteIndex.open(f"{tmp_path}/none/index.sqlite")


async def test_place_that_can_hold_no_wal_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="local file system"):
        await SqliteIndex.open(":memory:")


@pytest.mark.parametrize("name", ["with space?.sqlite", "50%25#.sqlite"])
async def test_path_with_odd_characters_is_one_file(tmp_path: Path, name: str) -> None:
    async with opened(f"{tmp_path}/{name}") as index:
        await index.apply([commit()])
        assert await index.recording("alpha", UUID) is not None
    assert os.listdir(tmp_path) == [name]
