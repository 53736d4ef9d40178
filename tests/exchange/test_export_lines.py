"""Lines of a recording as an export gives them, against the slow and simple way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.errors import CorruptSegment
from rrd.exchange.lines import read_lines
from rrd.exchange.reading import Input, file_limits_of, read_pieces
from rrd.ids import parse_recording_id
from rrd.playback.table import Between, plan
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
from tests.playback.recordings import (
    DATA,
    Run,
    Segment,
    answer,
    any_block_bytes,
    any_range,
    any_runs,
    block,
    longer_recording,
    path_of,
    put,
    spread,
)
from tests.playback.recordings import (
    RECORDING as NAME,
)
from tests.simdisk import SimDisk

PLENTY = 64 << 20
RECORDING = NAME.encode()


def sent(segments: list[Segment], between: Between) -> list[bytes]:
    lines = sorted(
        (line for blocks in segments for block in blocks for line in block), key=lambda x: x.timestamp
    )
    return [line.raw for line in lines if between.start <= line.timestamp < between.limit]


@given(longer_recording, any_runs, any_block_bytes, any_range, st.sampled_from([1, 5000, PLENTY]))
def test_lines_are_as_they_were_sent_wherever_they_are(
    segments: list[Segment], runs: list[Run], block_bytes: int, between: Between, bytes_max: int
) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, segments, runs, block_bytes=block_bytes)
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot, between=between)
        found = [line for lines in read_lines(table, ids=False, bytes_max=bytes_max) for line in lines]
    assert found == sent(segments, between)


@given(longer_recording, any_runs, any_block_bytes, any_range)
def test_with_ids_they_say_what_the_api_says_and_are_the_same_when_read_again(
    segments: list[Segment], runs: list[Run], block_bytes: int, between: Between
) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, segments, runs, block_bytes=block_bytes)
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot, between=between)
        found = [line for lines in read_lines(table, ids=True, bytes_max=PLENTY) for line in lines]
    assert list(map(as_json, found)) == list(map(as_json, answer(segments, between)))
    assert all(RECORDING in line for line in found), "each can be told from another recording's"
    again = read_pieces(
        [line + b"\n" for line in found], Input("x", parse_recording_id), file_limits_of(Config())
    )
    lines = [line for piece in again for line in piece.batch.payload.split(b"\n")[:-1]]
    # A carriage return belongs to the line's end, and older segments may have kept it.
    assert lines == [line.rstrip(b"\r") for line in sent(segments, between)]


def as_json(line: bytes) -> object:
    # parse_int: a number in there has more digits than Python reads.
    event = json.loads(line, parse_int=float)
    assert isinstance(event, dict)
    event.pop("inRecording", None)
    return event


def test_damage_is_an_error_and_what_came_before_is_good() -> None:
    disk = SimDisk()
    segments = [[block(1, 2), block(3, 4)]]
    snapshot = put(disk, segments)
    path = path_of(1, "active")
    data = bytearray(disk.read(path, 0, 1 << 20))
    data[-3] ^= 1
    disk.put(path, bytes(data))
    found: list[bytes] = []
    with files_of(MemoryStore()) as objects:
        lines = read_lines(plan(disk, objects, DATA, snapshot), ids=False, bytes_max=PLENTY)
        found += next(lines)
        with pytest.raises(CorruptSegment):
            found += next(lines)
    assert found == [line.raw for line in segments[0][0]]
