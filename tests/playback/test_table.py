"""The table of a recording's blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import CorruptSegment
from rrd.layout import SegmentName
from rrd.objects.files import ObjectFiles
from rrd.playback.sources import SegmentFile
from rrd.playback.table import ALWAYS, Between, plan
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
from tests.playback.recordings import (
    DATA,
    RECORDING,
    TENANT,
    Run,
    Segment,
    any_range,
    any_recording,
    block,
    encode,
    evict,
    key_of,
    path_of,
    put,
    roll_up,
    seal,
    spread,
)
from tests.simdisk import SimDisk

TWO = [[block(1, 2), block(3)], [block(4), [], block(5, 6)]]


def with_size(snapshot: Holdings, number: int, size: int) -> Holdings:
    rows = [row._replace(size=size) if row.number == number else row for row in snapshot.segments]
    return snapshot._replace(segments=tuple(rows))


@given(any_recording)
def test_the_table_lists_what_a_scan_finds(files: ObjectFiles, segments: list[Segment]) -> None:
    disk = SimDisk()
    snapshot = put(disk, segments)
    table = plan(disk, files, DATA, snapshot)
    found = [
        header for row in snapshot.segments for header in scan(disk, path_of(row.number, row.state)).blocks
    ]
    blocks = [table.block(number) for number in range(len(table))]
    assert [header for _, header in blocks] == [header for header in found if header.event_count]
    assert list(table.first_ts) == [header.first_ts for _, header in blocks]
    assert list(table.last_ts) == [header.last_ts for _, header in blocks]
    assert table.event_count == sum(header.event_count for header in found)


def test_blocks_beyond_one_window_are_listed(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, [[block(index) for index in range(500)]])
    assert len(plan(disk, files, DATA, snapshot)) == 500


@given(any_recording, any_range, st.integers(0, 12), st.integers(0, 30), st.integers(0, 30))
def test_a_narrowed_table_is_the_one_of_the_narrower_range(
    files: ObjectFiles, segments: list[Segment], between: Between, start_seq: int, first: int, limit: int
) -> None:
    disk = SimDisk()
    snapshot = put(disk, segments)
    numbers = ALWAYS._replace(first_seq=first, limit_seq=limit)
    between = between._replace(start_seq=start_seq, first_seq=first, limit_seq=limit)
    narrowed = plan(disk, files, DATA, snapshot, between=numbers).narrowed(between)
    planned = plan(disk, files, DATA, snapshot, between=between)
    assert [narrowed.block(number)[1] for number in range(len(narrowed))] == [
        planned.block(number)[1] for number in range(len(planned))
    ]
    for name in ("event_count", "data_size", "largest", "flags", "first_ts", "last_ts", "between"):
        assert getattr(narrowed, name) == getattr(planned, name), name


def test_nothing_beyond_the_durable_size_is_listed(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    durable = scan(disk, path_of(2, "active")).blocks[1].offset
    table = plan(disk, files, DATA, with_size(snapshot, 2, durable))
    assert table.event_count == 4


def test_a_segment_without_a_durable_byte_is_passed_over(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    disk.unlink(path_of(2, "active"))
    assert plan(disk, files, DATA, with_size(snapshot, 2, 0)).event_count == 3


def test_a_segment_sealed_since_the_snapshot_is_found(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    seal(disk, 2)
    assert plan(disk, files, DATA, snapshot).event_count == 6


def test_a_segment_called_sealed_too_early_is_found(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    rows = tuple(row._replace(state="sealed") for row in snapshot.segments)
    assert plan(disk, files, DATA, snapshot._replace(segments=rows)).event_count == 6


def test_a_missing_segment_is_an_error(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    disk.unlink(path_of(1, "sealed"))
    with pytest.raises(FileNotFoundError):
        plan(disk, files, DATA, snapshot)


def _flip(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


_IDENTITY_SIZE = len(encode([], number=1, first_seq=1))

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a bit of the identity": lambda data: _flip(data, 30),
    "a bit of the first header": lambda data: _flip(data, _IDENTITY_SIZE + 40),
    "cut in the last block": lambda data: data[:-1],
    "cut in the identity": lambda data: data[:20],
    "empty": lambda data: b"",
    "another segment": lambda data: encode(TWO[0], number=7, first_seq=1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_rather_than_skipped(files: ObjectFiles, damage: Callable[[bytes], bytes]) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    disk.put(path_of(1, "sealed"), damage(encode(TWO[0], number=1, first_seq=1)))
    with pytest.raises(CorruptSegment):
        plan(disk, files, DATA, snapshot)


@pytest.mark.parametrize(
    "first", [encode(TWO[0][:1], number=1, first_seq=1), encode(TWO[0], number=1, first_seq=2)]
)
def test_segments_whose_numbers_do_not_follow_each_other_are_damage(files: ObjectFiles, first: bytes) -> None:
    disk = SimDisk()
    snapshot = with_size(put(disk, TWO), 1, len(first))
    disk.put(path_of(1, "sealed"), first)
    with pytest.raises(CorruptSegment, match="should stand"):
        plan(disk, files, DATA, snapshot)


def test_a_recording_whose_beginning_is_missing_is_damage(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    with pytest.raises(CorruptSegment, match="should stand"):
        plan(disk, files, DATA, snapshot._replace(segments=snapshot.segments[1:]))


def test_a_file_that_moves_while_it_is_looked_for_is_found() -> None:
    name = SegmentName(TENANT, RECORDING, 1)
    looks: list[str] = []

    def look(path: str) -> str:
        looks.append(path)
        if len(looks) < 3:
            raise FileNotFoundError(path)
        return path

    assert SegmentFile(Shelf(SimDisk(), DATA), name, "sealed").read(look) == path_of(1, "sealed")
    assert looks == [path_of(1, "sealed"), path_of(1, "active"), path_of(1, "sealed")]


def test_a_durable_size_in_the_middle_of_a_block_is_damage(files: ObjectFiles) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    with pytest.raises(CorruptSegment, match="no valid block"):
        plan(disk, files, DATA, with_size(snapshot, 2, snapshot.segments[1].size - 1))


# Objects

MANY: list[Segment] = [[block(start), [], block(start + 1, start + 2)] for start in range(0, 60, 10)]


def test_the_table_of_an_object_is_one_request() -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, MANY, [Run(2, "evicted"), Run(2, "evicted")])
    with files_of(store) as objects:
        assert plan(disk, objects, DATA, snapshot).event_count == 18
    assert store.calls == {"read": 2}


def test_what_has_no_event_in_a_range_is_not_even_looked_at() -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, MANY, [Run(2, "evicted"), Run(2, "evicted"), Run(1, "evicted")])
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot, between=Between(20, 30))
        assert [header.first_ts for _, header in map(table.block, range(len(table)))] == [20]
        assert {key for key, _, _ in store.reads} == {key_of(snapshot.objects[1])}
        assert len(plan(disk, objects, DATA, snapshot, between=Between(12.5, 20))) == 0
        assert len(plan(disk, objects, DATA, snapshot, between=Between(20, 20))) == 0
        del store.objects[key_of(snapshot.objects[0])]
        objects.forget("")
        assert len(plan(disk, objects, DATA, snapshot, between=Between(20, 30))) == 1


def test_an_object_without_events_is_not_looked_at() -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, [[block(1)], [[]], [block(2)]], [Run(1, "local"), Run(1, "evicted")])
    with files_of(store) as objects:
        assert plan(disk, objects, DATA, snapshot).event_count == 2
    assert not store.calls


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_events_missing_between_objects_are_damage(missing: int) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, MANY, [Run(1, "evicted"), Run(2, "evicted"), Run(1, "evicted")])
    objects = tuple(row for number, row in enumerate(snapshot.objects) if number != missing)
    with files_of(store) as files, pytest.raises(CorruptSegment, match="should stand"):
        plan(disk, files, DATA, snapshot._replace(objects=objects))


def test_segments_rolled_up_since_the_snapshot_are_missing_and_not_left_out() -> None:
    disk, store = SimDisk(), MemoryStore()
    old = put(disk, MANY)
    new = roll_up(disk, store, old, 2, 3)
    evict(disk, new, new.objects[0])
    with files_of(store) as objects, pytest.raises(FileNotFoundError):
        plan(disk, objects, DATA, old)


@pytest.mark.parametrize("change", [{"size": 1}, {"event_count": 5}, {"last_number": 4}])
def test_an_object_that_is_not_what_the_index_says_is_damage(change: dict[str, Any]) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, MANY, [Run(2, "evicted")])
    row = snapshot.objects[0]._replace(**change)
    store.objects[key_of(row)] = store.objects[key_of(snapshot.objects[0])]
    with files_of(store) as objects, pytest.raises(CorruptSegment) as caught:
        plan(disk, objects, DATA, snapshot._replace(objects=(row,)))
    assert caught.value.path == key_of(row)


def test_segments_that_end_before_their_object_does_are_not_read() -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, MANY, [Run(2, "rolled")])
    # What a rebuilt index would know of a file that was cut.
    cut = scan(disk, path_of(2, "sealed")).blocks[-1].offset
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, with_size(snapshot, 2, cut))
        assert table.event_count == 18
        assert not table.is_local
