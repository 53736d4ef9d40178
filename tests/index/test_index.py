"""The index gives the answers of a naive model, whatever comes, fails or is cut off."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.errors import BadRequest, ConfigError, IndexDamaged, StorageFailed
from rrd.extent import Extent
from rrd.index import listing
from rrd.index.index import Index
from rrd.index.migrations import FIRST_VERSION, scripts
from rrd.index.rows import (
    Commit,
    ListedRecording,
    MetadataChange,
    MetadataRow,
    ObjectCommit,
    ObjectRow,
    RemovedRecording,
    SegmentRow,
    Statistics,
)
from rrd.index.values import digest
from tests.index.index_model import (
    MONTH_MS,
    NOW_MS,
    RECORDINGS,
    TENANTS,
    UUID,
    Model,
    Step,
    assert_same,
    assert_sets,
    commit,
    filters,
    groups,
    in_new_directory,
    live_on,
    opened,
    rebuild,
    spread_blocks,
    steps,
    with_metadata,
    without_events,
)
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
async def index(path: str) -> AsyncIterator[Index]:
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
            for tenant, recording in list(model.recordings):
                assert await index.remove(tenant, recording) == model.remove(tenant, recording)
            await assert_same(index, model)
        with closing(sqlite3.connect(path)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            left = {name for name in tables if db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall()}
            assert left <= {"tenant", "metadata_key"}
            counters = set(db.execute("SELECT recordings, storage_bytes FROM tenant"))
            assert counters <= {(0, 0)}

    in_new_directory(proof)


def _expected_sets(model: Model) -> tuple[dict[tuple[str, bytes, bytes], set[int]], dict[str, set[int]]]:
    in_use: dict[tuple[str, bytes, bytes], set[int]] = {}
    visible: dict[str, set[int]] = {}
    for entry in model.recordings.values():
        if entry.visible:
            visible.setdefault(entry.tenant, set()).add(entry.row_id)
        for row in entry.metadata.values():
            pair = (row.key.encode("utf-8", "surrogatepass"), row.value.encode("utf-8", "surrogatepass"))
            in_use.setdefault((entry.tenant, *pair), set()).add(entry.row_id)
    return in_use, visible


def _sets(path: str) -> tuple[dict[tuple[str, bytes, bytes], set[int]], dict[str, set[int]]]:
    """Read the filter sets by themselves, bit by bit: those of facets, those of tenants."""
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
            "  FROM facet JOIN tenant USING (tenant_id) JOIN metadata_key USING (key_id)"
        )
        of_facets = {tuple(names): members.pop(facet_id) for facet_id, *names in facets}
        tenants = db.execute("SELECT tenant_id, name FROM tenant")
        of_tenants = {name: members.pop(-tenant_id) for tenant_id, name in tenants if -tenant_id in members}
    assert members == {}, "members of sets that don't exist"
    return of_facets, of_tenants


# Meaning


async def test_metadata_counts_versions_from_1_and_keeps_the_last_time(index: Index) -> None:
    changes = (MetadataChange("k", "a", 10), MetadataChange("k", "a", 20), MetadataChange("k", "b", 30))
    await index.apply([commit()._replace(metadata=changes)])
    assert await index.metadata("alpha", UUID) == [MetadataRow("k", "b", 3, 30)]
    await index.apply([commit(size=2000)._replace(metadata=(MetadataChange("k", "a", 40),))])
    assert await index.metadata("alpha", UUID) == [MetadataRow("k", "a", 4, 40)]


async def test_recording_of_quarantined_lines_alone_is_invisible_but_its_bytes_count(index: Index) -> None:
    await index.apply([without_events(commit(), quarantined=2)])
    assert await index.list_recordings("alpha", filters=(), limit=50, offset=0) == []
    assert await index.statistics("alpha", month_start_ms=MONTH_MS) == Statistics(0, 0, 300)
    row = await index.recording("alpha", UUID)
    assert row is not None
    assert not row.visible
    assert not await index.is_empty()


@pytest.mark.parametrize("what", ["event", "metadata"])
async def test_first_event_or_metadata_makes_a_recording_visible(index: Index, what: str) -> None:
    hidden = without_events(commit(), quarantined=1)
    await index.apply([hidden])
    shown = commit(size=2000)
    if what == "metadata":
        shown = with_metadata(without_events(shown), k="v")
    await index.apply([shown])
    (listed,) = await index.list_recordings("alpha", filters=(), limit=50, offset=0)
    assert listed == ListedRecording(UUID, NOW_MS, {"k": "v"} if what == "metadata" else {})
    assert await index.statistics("alpha", month_start_ms=MONTH_MS) == Statistics(1, 1, 600)


async def test_tenants_with_the_same_recording_id_never_meet(index: Index) -> None:
    await index.apply(
        [
            with_metadata(commit(1, tenant="alpha"), who="a", shared="x"),
            with_metadata(commit(2, tenant="beta", size=5000), who="b", shared="x"),
        ]
    )
    for tenant, who, size in (("alpha", "a", 1000), ("beta", "b", 5000)):
        row = await index.recording(tenant, UUID)
        assert row is not None
        assert [segment.size for segment in row.segments] == [size]
        assert {row.key: row.value for row in await index.metadata(tenant, UUID)} == {
            "who": who,
            "shared": "x",
        }
        for wanted in ((), [("shared", "x")], [("who", who)], [("shared", "x"), ("who", who)]):
            listed = await index.list_recordings(tenant, filters=wanted, limit=50, offset=0)
            assert [entry.metadata["who"] for entry in listed] == [who]
    assert await index.list_recordings("beta", filters=[("who", "a")], limit=50, offset=0) == []


async def test_facets_with_equal_digests_are_told_apart(path: str) -> None:
    wanted = [("k", "sought")]
    async with opened(path) as index:
        await index.apply(
            [
                with_metadata(commit(1), k="another value"),
                with_metadata(commit(2, recording=RECORDINGS[1]), another_key="sought"),
                with_metadata(commit(3, tenant="beta"), k="sought"),
            ]
        )
    with closing(sqlite3.connect(path)) as db, db:
        # As if all that there is collided with what is to come.
        db.execute("UPDATE facet SET digest = ?", (digest("alpha", b"k", b"sought"),))
    async with opened(path) as index:
        assert await index.list_recordings("alpha", filters=wanted, limit=50, offset=0) == []
        await index.apply([with_metadata(commit(4, recording=RECORDINGS[2]), k="sought")])
        (listed,) = await index.list_recordings("alpha", filters=wanted, limit=50, offset=0)
        assert listed == ListedRecording(RECORDINGS[2], NOW_MS, {"k": "sought"})
        await index.apply([with_metadata(commit(1, size=2000), k="sought")])
        listed_both = await index.list_recordings("alpha", filters=wanted, limit=50, offset=0)
        assert [entry.recording for entry in listed_both] == [RECORDINGS[2], RECORDINGS[0]]


async def test_row_ids_are_never_given_twice(path: str) -> None:
    async with opened(path) as index:
        assert [index.take_row_id(), index.take_row_id(), index.take_row_id()] == [1, 2, 3]
        await index.apply([commit(3)])
    async with opened(path) as index:
        assert index.take_row_id() == 4


async def test_sets_hold_recordings_at_the_edges_of_words_and_chunks(index: Index) -> None:
    blocks = spread_blocks()
    await index.apply(blocks)
    await assert_sets(index, blocks)
    # The neighbours of one that goes stay, and so do its own other sets when a value changes.
    for place in (2, 4, 7, 9):
        await index.remove("alpha", blocks.pop(place).recording)
        await assert_sets(index, blocks)
    changed = [with_metadata(block._replace(segment_size=9000), odd="neither") for block in blocks[5:9]]
    await index.apply(changed)
    listed = await index.list_recordings(
        "alpha", filters=[("odd", "neither"), ("all", "x")], limit=9, offset=0
    )
    assert [entry.recording for entry in listed] == [block.recording for block in reversed(changed)]


async def test_more_filters_than_can_be_joined_are_refused(index: Index) -> None:
    block = with_metadata(commit(), **{f"k{i}": "v" for i in range(listing.FILTERS_MAX)})
    await index.apply([block])
    wanted = [(f"k{i}", "v") for i in range(listing.FILTERS_MAX)]
    assert len(await index.list_recordings("alpha", filters=wanted, limit=50, offset=0)) == 1
    # The same filter again is no other filter.
    assert len(await index.list_recordings("alpha", filters=wanted + wanted, limit=50, offset=0)) == 1
    with pytest.raises(BadRequest, match="at most 50 filters"):
        await index.list_recordings("alpha", filters=[*wanted, ("more", "v")], limit=50, offset=0)


async def test_offset_beyond_all_numbers_finds_nothing(index: Index) -> None:
    await index.apply([commit()])
    assert await index.list_recordings("alpha", filters=(), limit=100, offset=10**30) == []


# All or nothing


def _shrinks(block: Commit) -> Commit:
    return block._replace(segment_size=block.segment_size - 1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda block: block, "would not grow"),
        (_shrinks, "would not grow"),
        (lambda block: block._replace(segment_size=9999, recording=RECORDINGS[3]), "another recording"),
        (lambda block: block._replace(segment_size=9999, tenant="beta"), "another recording"),
        (lambda block: block._replace(segment_size=9999, row_id=77), "UNIQUE"),
        (lambda block: block._replace(segment_size=9999, row_id=2, recording=RECORDINGS[1]), "is sealed"),
        (lambda block: block._replace(row_id=0, recording=RECORDINGS[2]), "row_id > 0"),
    ],
    ids=["told twice", "shrinks", "other id", "other tenant", "second row id", "sealed", "row id 0"],
)
async def test_group_with_one_impossible_block_changes_nothing(
    path: str, bad: Callable[[Commit], Commit], message: str
) -> None:
    model = Model()
    before = [with_metadata(commit(), k="v"), commit(2, recording=RECORDINGS[1])]
    good = with_metadata(commit(3, recording=RECORDINGS[2], tenant="beta"), k="v", other="w")
    for block in before:
        model.apply(block)
    async with opened(path) as index:
        await index.apply(before)
        await index.seal([(2, 1)])
        model.seal(2, 1)
        with pytest.raises(sqlite3.IntegrityError, match=message):
            await index.apply([good, with_metadata(bad(before[0]), k="changed")])
        await assert_same(index, model)
        await index.apply([good])
        model.apply(good)
        await assert_same(index, model)
    async with opened(path) as index:
        await assert_same(index, model)


async def test_sealing_an_unknown_segment_seals_none(index: Index) -> None:
    await index.apply([commit()])
    with pytest.raises(sqlite3.IntegrityError, match="not in the index"):
        await index.seal([(1, 1), (1, 2)])
    assert [segment.state for *_, segment in await index.active_segments()] == ["active"]
    await index.seal([(1, 1)])
    await index.seal([(1, 1)])
    assert await index.active_segments() == []


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


async def test_steps_that_files_depend_on_are_synced_and_applying_is_not(index: Index) -> None:
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


async def test_reads_do_not_wait_for_a_write_under_way(index: Index) -> None:
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


async def test_overlapping_calls_get_their_own_answers(index: Index) -> None:
    recordings = [f"00000000-0000-4000-8000-{i:012d}" for i in range(1, 101)]

    async def write_and_read(row_id: int, recording: str) -> None:
        await index.apply([with_metadata(commit(row_id, recording=recording), me=recording)])
        listed, row, metadata = await asyncio.gather(
            index.list_recordings("alpha", filters=[("me", recording)], limit=50, offset=0),
            index.recording("alpha", recording),
            index.metadata("alpha", recording),
        )
        assert [entry.recording for entry in listed] == [recording]
        assert row is not None
        assert row.row_id == row_id
        assert metadata[0].value == recording

    await asyncio.gather(*(write_and_read(i, name) for i, name in enumerate(recordings, start=1)))
    listed = await index.list_recordings("alpha", filters=(), limit=1000, offset=0)
    assert [entry.recording for entry in listed] == recordings[::-1]


# Objects and removal


def an_object(first_number: int = 1, last_number: int = 2, *, published_ms: int = NOW_MS) -> ObjectRow:
    return ObjectRow(
        first_number, last_number, 1000, 1, 2, 700, 7, 200, 5.0, 6.0, "published", published_ms, True
    )


def found(row: ObjectRow, row_id: int = 1) -> ObjectCommit:
    extent = Extent(row.first_seq, row.event_count, row.first_ts, row.last_ts, row.raw_size, NOW_MS, 0, 0)
    return ObjectCommit(row_id, "alpha", UUID, NOW_MS, row, extent, (), ())


async def with_three_segments(index: Index) -> None:
    """Of 300 bytes each; the first two are sealed."""
    block = commit(size=300)
    await index.apply([block, block._replace(segment=2), block._replace(segment=3)])
    await index.seal([(1, 1), (1, 2)])


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ((1, 3), "not sealed"),
        ((3, 3), "not sealed"),
        ((2, 1), "not sealed"),
        ((4, 4), "not there"),
        ((1, 2), "another object"),
        ((2, 2), "another object"),
    ],
)
async def test_impossible_plan_changes_nothing(index: Index, run: tuple[int, int], message: str) -> None:
    await with_three_segments(index)
    if message == "another object":
        await index.plan_object(1, 1, 1)
        await index.plan_object(1, 2, 2)
        run = (1, 2)
    before = await index.recording("alpha", UUID)
    with pytest.raises(sqlite3.IntegrityError, match=message):
        await index.plan_object(1, *run)
    assert await index.recording("alpha", UUID) == before


async def test_published_object_is_neither_planned_nor_published_again(index: Index) -> None:
    await with_three_segments(index)
    with pytest.raises(sqlite3.IntegrityError, match="no such object"):
        await index.publish_object(1, an_object(), ())
    await index.plan_object(1, 1, 2)
    with pytest.raises(sqlite3.IntegrityError, match="no such object"):
        await index.publish_object(1, an_object(1, 1), ())
    await index.publish_object(1, an_object(), ())
    before = await index.recording("alpha", UUID)
    with pytest.raises(sqlite3.IntegrityError, match="not sealed"):
        await index.plan_object(1, 1, 2)
    with pytest.raises(sqlite3.IntegrityError, match="no such object"):
        await index.publish_object(1, an_object(), ())
    # Sealing what is rolled must not bring it back among those that wait.
    await index.seal([(1, 1)])
    assert await index.recording("alpha", UUID) == before
    assert await index.backlog() == (0, 0, None)


async def test_object_counts_once_and_in_place_of_its_segments(index: Index) -> None:
    await with_three_segments(index)
    await index.plan_object(1, 1, 2)
    assert await index.tenants() == [("alpha", 1, 900)]
    await index.publish_object(1, an_object(), [(50, NOW_MS, 4)])
    for _ in range(2):
        row = await index.recording("alpha", UUID)
        assert row is not None
        assert row.stored_bytes == 300 + 700
        assert await index.tenants() == [("alpha", 1, 1000)]
        ((tenant, _, number, state, offset, _, lines, place),) = await index.quarantine(
            tenant=None, recording=UUID
        )
        assert (tenant, number, state, offset, lines) == ("alpha", 1, "rolled", 50, 4)
        assert (place,) == row.objects
        # Eviction changes none of this.
        await index.evicted(1, 1)
    row = await index.recording("alpha", UUID)
    assert row is not None
    assert [segment.number for segment in row.segments] == [3]
    assert [place.has_local for place in row.objects] == [False]


async def test_block_of_a_segment_that_is_in_an_object_is_refused(index: Index) -> None:
    await with_three_segments(index)
    await index.plan_object(1, 1, 2)
    await index.publish_object(1, an_object(), ())
    with pytest.raises(sqlite3.IntegrityError, match="is sealed"):
        await index.apply([commit(size=900)])
    await index.evicted(1, 1)
    with pytest.raises(sqlite3.IntegrityError, match="in an object"):
        await index.apply([commit(size=900)])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (found(an_object(3, 4)), "a segment of this object"),
        (found(an_object(2, 2)), "another object"),
        (found(an_object(4, 4))._replace(tenant="beta"), "another recording"),
        (found(an_object(4, 4), row_id=2), "UNIQUE"),
        (found(an_object(4, 4))._replace(local=(SegmentRow(3, "sealed", 1, None, None),)), "UNIQUE"),
        (found(an_object(4, 4))._replace(quarantine=((9, 9, 1), (9, 9, 2))), "UNIQUE"),
    ],
    ids=["segment known", "overlap", "other tenant", "second row id", "local copy", "quarantine"],
)
async def test_impossible_found_object_changes_nothing(index: Index, bad: ObjectCommit, message: str) -> None:
    await index.add_object(found(an_object()))
    await index.apply([commit(size=300)._replace(segment=3)])
    before = (await index.recording("alpha", UUID), await index.tenants(), await index.backlog())
    with pytest.raises(sqlite3.IntegrityError, match=message):
        await index.add_object(bad)
    assert (await index.recording("alpha", UUID), await index.tenants(), await index.backlog()) == before
    await index.add_object(found(an_object(4, 4)))


async def test_removal_tells_what_there_was_and_the_name_is_free_again(index: Index) -> None:
    assert await index.remove("alpha", UUID) is None
    await index.apply([with_metadata(commit(tenant="beta", row_id=2), k="v")])
    await with_three_segments(index)
    await index.plan_object(1, 1, 2)
    await index.publish_object(1, an_object(), ())
    assert await index.remove("alpha", UUID) == RemovedRecording(1, NOW_MS, 1, 300, 1000, 1)
    assert await index.remove("alpha", UUID) is None
    assert [row.recording for row in await index.oldest(tenant=None, after_row_id=0, limit=9)] == [UUID]
    await index.apply([commit(row_id=3)])
    row = await index.recording("alpha", UUID)
    assert row is not None
    assert (row.row_id, row.objects) == (3, ())


async def test_oldest_of_a_tenant_walks_over_any_number_of_others(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rrd.index.index._WALK_ROW_IDS", 3)
    names = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 30)]
    mine = (2, 3, 4, 17, 29)
    await index.apply(
        [
            commit(row_id, recording=name, tenant="beta" if row_id in mine else "alpha")
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
        await Index.open(path)
    assert read(path) == before


async def test_database_of_another_program_is_refused_and_left_alone(path: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE diary (entry TEXT)")
    before = read(path)
    with pytest.raises(IndexDamaged, match="not an index of rrd"):
        await Index.open(path)
    assert read(path) == before


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_garbage_is_damage(path: str, content: bytes) -> None:
    write(path, content)
    with pytest.raises(IndexDamaged, match="rrd reindex"):
        await Index.open(path)
    assert read(path) == content


async def test_empty_file_is_a_new_index(path: str) -> None:
    write(path, b"")
    async with opened(path) as index:
        assert await index.is_empty()


async def test_index_cut_in_half_is_damage(path: str) -> None:
    async with opened(path) as index:
        await index.apply([with_metadata(commit(), k="v" * 50_000)])
    shorten(path, 0.5)
    with pytest.raises(IndexDamaged):
        await Index.open(path)


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
        assert await index.is_empty()
        await index.apply([commit()])
    async with opened(path) as index:
        assert not await index.is_empty()


async def test_directory_that_is_not_there_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="unable to open"):
        await Index.open(f"{tmp_path}/none/index.sqlite")


async def test_place_that_can_hold_no_wal_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="local file system"):
        await Index.open(":memory:")


@pytest.mark.parametrize("name", ["with space?.sqlite", "50%25#.sqlite"])
async def test_path_with_odd_characters_is_one_file(tmp_path: Path, name: str) -> None:
    async with opened(f"{tmp_path}/{name}") as index:
        await index.apply([commit()])
        assert await index.recording("alpha", UUID) is not None
    assert os.listdir(tmp_path) == [name]
