"""What an index promises, whatever keeps it: SQLite's, and a naive one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rrd.extent import Extent
from rrd.index.contract import Contradiction, Index
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
    SummaryRow,
)
from tests.index.index_model import (
    MONTH_MS,
    NOW_MS,
    RECORDINGS,
    UUID,
    Model,
    assert_same,
    assert_sets,
    commit,
    opened,
    spread_blocks,
    with_metadata,
    without_events,
)
from tests.index.memory_index import MemoryIndex


@pytest.fixture(params=["sqlite", "memory"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Index]:
    if request.param == "memory":
        yield MemoryIndex()
        return
    async with opened(f"{tmp_path}/index.sqlite") as index:
        yield index


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
    assert await index.oldest(tenant=None, after_row_id=0, limit=9) != []


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


async def test_sets_hold_recordings_at_the_edges_of_words_and_chunks(index: Index) -> None:
    blocks = spread_blocks()
    await index.apply(blocks)
    await assert_sets(index, blocks)
    # The neighbours of one that goes stay, and so do its own other sets when a value changes.
    for place in (2, 4, 7, 9):
        await index.remove("alpha", blocks.pop(place).recording_id)
        await assert_sets(index, blocks)
    changed = [with_metadata(block._replace(segment_size=9000), odd="neither") for block in blocks[5:9]]
    await index.apply(changed)
    listed = await index.list_recordings(
        "alpha", filters=[("odd", "neither"), ("all", "x")], limit=9, offset=0
    )
    assert [entry.recording_id for entry in listed] == [block.recording_id for block in reversed(changed)]


async def test_offset_beyond_all_numbers_finds_nothing(index: Index) -> None:
    await index.apply([commit()])
    assert await index.list_recordings("alpha", filters=(), limit=100, offset=10**30) == []


def _shrinks(block: Commit) -> Commit:
    return block._replace(segment_size=block.segment_size - 1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda block: block, "would not grow"),
        (_shrinks, "would not grow"),
        (lambda block: block._replace(segment_size=9999, recording_id=RECORDINGS[3]), "another recording"),
        (lambda block: block._replace(segment_size=9999, tenant="beta"), "another recording"),
        (lambda block: block._replace(segment_size=9999, row_id=77), "UNIQUE"),
        (lambda block: block._replace(segment_size=9999, row_id=2, recording_id=RECORDINGS[1]), "is sealed"),
        (lambda block: block._replace(row_id=0, recording_id=RECORDINGS[2]), "row_id > 0"),
    ],
    ids=["told twice", "shrinks", "other id", "other tenant", "second row id", "sealed", "row id 0"],
)
async def test_group_with_one_impossible_block_changes_nothing(
    index: Index, bad: Callable[[Commit], Commit], message: str
) -> None:
    model = Model()
    before = [with_metadata(commit(), k="v"), commit(2, recording_id=RECORDINGS[1])]
    good = with_metadata(commit(3, recording_id=RECORDINGS[2], tenant="beta"), k="v", other="w")
    for block in before:
        model.apply(block)
    await index.apply(before)
    await index.seal([(2, 1)])
    model.seal(2, 1)
    with pytest.raises(Contradiction, match=message):
        await index.apply([good, with_metadata(bad(before[0]), k="changed")])
    await assert_same(index, model)
    await index.apply([good])
    model.apply(good)
    await assert_same(index, model)


async def test_sealing_an_unknown_segment_seals_none(index: Index) -> None:
    await index.apply([commit()])
    with pytest.raises(Contradiction, match="not in the index"):
        await index.seal([(1, 1), (1, 2)])
    assert [segment.state for *_, segment in await index.active_segments()] == ["active"]
    await index.seal([(1, 1)])
    await index.seal([(1, 1)])
    assert await index.active_segments() == []


async def test_overlapping_calls_get_their_own_answers(index: Index) -> None:
    recordings = [f"00000000-0000-4000-8000-{i:012d}" for i in range(1, 101)]

    async def write_and_read(row_id: int, recording_id: str) -> None:
        await index.apply([with_metadata(commit(row_id, recording_id=recording_id), me=recording_id)])
        listed, row, metadata = await asyncio.gather(
            index.list_recordings("alpha", filters=[("me", recording_id)], limit=50, offset=0),
            index.recording("alpha", recording_id),
            index.metadata("alpha", recording_id),
        )
        assert [entry.recording_id for entry in listed] == [recording_id]
        assert row is not None
        assert row.row_id == row_id
        assert metadata[0].value == recording_id

    await asyncio.gather(*(write_and_read(i, name) for i, name in enumerate(recordings, start=1)))
    listed = await index.list_recordings("alpha", filters=(), limit=1000, offset=0)
    assert [entry.recording_id for entry in listed] == recordings[::-1]


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
    await index.apply(
        [
            block._replace(segment=number, extent=block.extent._replace(first_seq=number))
            for number in (1, 2, 3)
        ]
    )
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
    with pytest.raises(Contradiction, match=message):
        await index.plan_object(1, *run)
    assert await index.recording("alpha", UUID) == before


async def test_published_object_is_neither_planned_nor_published_again(index: Index) -> None:
    await with_three_segments(index)
    with pytest.raises(Contradiction, match="no such object"):
        await index.publish_object(1, an_object(), ())
    await index.plan_object(1, 1, 2)
    with pytest.raises(Contradiction, match="no such object"):
        await index.publish_object(1, an_object(1, 1), ())
    await index.publish_object(1, an_object(), ())
    before = await index.recording("alpha", UUID)
    with pytest.raises(Contradiction, match="not sealed"):
        await index.plan_object(1, 1, 2)
    with pytest.raises(Contradiction, match="no such object"):
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
            tenant=None, recording_id=UUID
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
    with pytest.raises(Contradiction, match="is sealed"):
        await index.apply([commit(size=900)])
    await index.evicted(1, 1)
    with pytest.raises(Contradiction, match="in an object"):
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
    with pytest.raises(Contradiction, match=message):
        await index.add_object(bad)
    assert (await index.recording("alpha", UUID), await index.tenants(), await index.backlog()) == before
    await index.add_object(found(an_object(4, 4)))


async def test_removal_tells_what_there_was_and_the_name_is_free_again(index: Index) -> None:
    assert await index.remove("alpha", UUID) is None
    await index.apply([with_metadata(commit(tenant="beta", row_id=2), k="v")])
    await with_three_segments(index)
    await index.plan_object(1, 1, 2)
    await index.publish_object(1, an_object(), ())
    assert await index.remove("alpha", UUID) == RemovedRecording(1, NOW_MS, 3, 300, 1000, 1)
    assert await index.remove("alpha", UUID) is None
    assert [row.recording_id for row in await index.oldest(tenant=None, after_row_id=0, limit=9)] == [UUID]
    await index.apply([commit(row_id=3)])
    row = await index.recording("alpha", UUID)
    assert row is not None
    assert (row.row_id, row.objects) == (3, ())


A_SUMMARY = SummaryRow(5000, 3, 2, 1, 0, "https://a/", ("https://a/", "https://a/b"), b"\x01\x00", b"state")


async def test_a_summary_is_what_was_told_last_and_goes_with_its_recording(index: Index) -> None:
    await with_three_segments(index)
    assert await index.summary(1) is None
    await index.plan_object(1, 1, 2)
    await index.publish_object(1, an_object(), (), A_SUMMARY)
    assert await index.summary(1) == A_SUMMARY
    await index.seal([(1, 3)])
    await index.plan_object(1, 3, 3)
    await index.publish_object(1, an_object(3, 3), ())
    assert await index.summary(1) == A_SUMMARY
    later = A_SUMMARY._replace(first_url=None, urls=("https://a/b", "https://c/"), state=b"", errors=9)
    await index.apply([commit(size=300)._replace(segment=4)])
    await index.seal([(1, 4)])
    await index.plan_object(1, 4, 4)
    await index.publish_object(1, an_object(4, 4), (), later)
    assert await index.summary(1) == later
    await index.remove("alpha", UUID)
    assert await index.summary(1) is None


async def test_an_object_that_is_refused_leaves_the_summary(index: Index) -> None:
    await index.add_object(found(an_object())._replace(summary=A_SUMMARY))
    with pytest.raises(Contradiction):
        await index.add_object(found(an_object())._replace(summary=A_SUMMARY._replace(errors=9)))
    assert await index.summary(1) == A_SUMMARY


async def test_a_list_in_pieces_is_the_list(index: Index) -> None:
    await index.apply(spread_blocks())
    whole = await index.list_recordings("alpha", filters=[("all", "x")], limit=9, offset=2)
    names: list[bytes] = []
    piece = await index.begin_list(
        "alpha", filters=[("all", "x")], limit=9, offset=2, encode=_name, bytes_max=100
    )
    while piece.items:
        assert sum(map(len, piece.items[:-1])) < 100
        names += piece.items
        piece = await index.continue_list(piece.rest, encode=_name, bytes_max=100)
    assert names == [listed.recording_id.encode() for listed in whole]
    assert len(names) == 9


def _name(listed: ListedRecording) -> bytes:
    return listed.recording_id.encode()


async def test_row_ids_begin_with_1_and_are_never_given_twice(index: Index) -> None:
    assert index.next_row_id == 1
    assert [index.take_row_id(), index.take_row_id(), index.take_row_id()] == [1, 2, 3]


async def test_a_copy_never_replaces_an_index(index: Index, tmp_path: Path) -> None:
    tmp_path.joinpath("copy").mkdir()
    await index.snapshot(f"{tmp_path}/copy")
    with pytest.raises(FileExistsError):
        await index.snapshot(f"{tmp_path}/copy")
