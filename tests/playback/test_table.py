"""The table of a recording's blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given

from rrd.errors import CorruptSegment
from rrd.layout import SegmentName
from rrd.playback.table import SegmentFile, Snapshot, plan
from rrd.segment.scan import scan
from tests.playback.recordings import (
    DATA,
    RECORDING,
    TENANT,
    Segment,
    any_recording,
    block,
    encode,
    path_of,
    put,
    seal,
)
from tests.simdisk import SimDisk

TWO = [[block(1, 2), block(3)], [block(4), [], block(5, 6)]]


def with_size(snapshot: Snapshot, number: int, size: int) -> Snapshot:
    rows = [row._replace(size=size) if row.number == number else row for row in snapshot.segments]
    return snapshot._replace(segments=tuple(rows))


@given(any_recording)
def test_the_table_lists_what_a_scan_finds(segments: list[Segment]) -> None:
    disk = SimDisk()
    snapshot = put(disk, segments)
    table = plan(disk, DATA, snapshot)
    found = [
        header for row in snapshot.segments for header in scan(disk, path_of(row.number, row.state)).blocks
    ]
    blocks = [table.block(number) for number in range(len(table))]
    assert [header for _, header in blocks] == [header for header in found if header.event_count]
    assert list(table.first_ts) == [header.first_ts for _, header in blocks]
    assert list(table.last_ts) == [header.last_ts for _, header in blocks]
    assert table.event_count == sum(header.event_count for header in found)


def test_blocks_beyond_one_window_are_listed() -> None:
    disk = SimDisk()
    snapshot = put(disk, [[block(index) for index in range(500)]])
    assert len(plan(disk, DATA, snapshot)) == 500


def test_nothing_beyond_the_durable_size_is_listed() -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    durable = len(encode([TWO[1][0]], number=2, first_seq=4))
    table = plan(disk, DATA, with_size(snapshot, 2, durable))
    assert table.event_count == 4


def test_a_segment_without_a_durable_byte_is_passed_over() -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    disk.unlink(path_of(2, "active"))
    assert plan(disk, DATA, with_size(snapshot, 2, 0)).event_count == 3


def test_a_segment_sealed_since_the_snapshot_is_found() -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    seal(disk, 2)
    assert plan(disk, DATA, snapshot).event_count == 6


def test_a_segment_called_sealed_too_early_is_found() -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    rows = tuple(row._replace(state="sealed") for row in snapshot.segments)
    assert plan(disk, DATA, snapshot._replace(segments=rows)).event_count == 6


def test_a_missing_segment_is_an_error() -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    disk.unlink(path_of(1, "sealed"))
    with pytest.raises(FileNotFoundError):
        plan(disk, DATA, snapshot)


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
def test_damage_is_told_rather_than_skipped(damage: Callable[[bytes], bytes]) -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    disk.put(path_of(1, "sealed"), damage(encode(TWO[0], number=1, first_seq=1)))
    with pytest.raises(CorruptSegment):
        plan(disk, DATA, snapshot)


@pytest.mark.parametrize(
    "first", [encode(TWO[0][:1], number=1, first_seq=1), encode(TWO[0], number=1, first_seq=2)]
)
def test_segments_whose_numbers_do_not_follow_each_other_are_damage(first: bytes) -> None:
    disk = SimDisk()
    snapshot = with_size(put(disk, TWO), 1, len(first))
    disk.put(path_of(1, "sealed"), first)
    with pytest.raises(CorruptSegment, match="should stand"):
        plan(disk, DATA, snapshot)


def test_a_recording_whose_beginning_is_missing_is_damage() -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    with pytest.raises(CorruptSegment, match="should stand"):
        plan(disk, DATA, snapshot._replace(segments=snapshot.segments[1:]))


def test_a_file_that_moves_while_it_is_looked_for_is_found() -> None:
    name = SegmentName(TENANT, RECORDING, 1)
    looks: list[str] = []

    def look(path: str) -> str:
        looks.append(path)
        if len(looks) < 3:
            raise FileNotFoundError(path)
        return path

    assert SegmentFile(DATA, name, "sealed").read(look) == path_of(1, "sealed")
    assert looks == [path_of(1, "sealed"), path_of(1, "active"), path_of(1, "sealed")]


def test_a_durable_size_in_the_middle_of_a_block_is_damage() -> None:
    disk = SimDisk()
    snapshot = put(disk, TWO)
    with pytest.raises(CorruptSegment, match="no valid block"):
        plan(disk, DATA, with_size(snapshot, 2, snapshot.segments[1].size - 1))
