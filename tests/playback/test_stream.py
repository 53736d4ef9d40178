"""Recordings streamed from disk, against the naive model."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import tracemalloc
import weakref
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import CorruptSegment
from rrd.playback.splice import JSON_ARRAY, NDJSON, Form
from rrd.playback.stream import CHUNK_BYTES, CHUNK_BYTES_MAX, read_in_order, stream
from rrd.playback.table import Table, plan
from rrd.segment.disk import OsDisk
from tests.playback.recordings import (
    DATA,
    Segment,
    answer,
    any_recording,
    block,
    draft,
    encode,
    encode_drafts,
    line,
    path_of,
    put,
    seal,
)
from tests.simdisk import SimDisk

PLENTY = 64 << 20


def planned(disk: SimDisk, segments: list[Segment]) -> Table:
    return plan(disk, DATA, put(disk, segments))


def read(disk: SimDisk, table: Table, form: Form = NDJSON, bytes_max: int = PLENTY) -> bytes:
    return b"".join(read_in_order(disk, table, form=form, bytes_max=bytes_max))


def ndjson(segments: list[Segment]) -> bytes:
    return b"".join(line + b"\n" for line in answer(segments))


@given(any_recording, st.sampled_from([1, 500, 5000, PLENTY]))
def test_every_event_comes_back_in_order_with_its_bytes_untouched(
    segments: list[Segment], bytes_max: int
) -> None:
    disk = SimDisk()
    table = planned(disk, segments)
    assert read(disk, table, NDJSON, bytes_max) == ndjson(segments)


@given(any_recording)
def test_an_array_holds_what_the_lines_hold(segments: list[Segment]) -> None:
    disk = SimDisk()
    table = planned(disk, segments)
    text = read(disk, table, JSON_ARRAY)
    assert text == b"[" + b",\n".join(answer(segments)) + b"]"
    # parse_int: a number in there has more digits than Python reads.
    assert len(json.loads(text, parse_int=float)) == table.event_count


@pytest.mark.parametrize(("form", "text"), [(JSON_ARRAY, b"[]"), (NDJSON, b"")])
@pytest.mark.parametrize("segments", [[], [[]], [[[], []]]])
def test_a_recording_without_events_is_empty(segments: list[Segment], form: Form, text: bytes) -> None:
    disk = SimDisk()
    assert read(disk, planned(disk, segments), form) == text


@pytest.mark.parametrize("form", [JSON_ARRAY, NDJSON])
def test_chunks_are_neither_tiny_nor_huge(form: Form) -> None:
    trickle = [block(index, pad=100) for index in range(2000)]
    bulk = [[line(5000 + index, pad=150) for index in range(3000)]]
    snapshots = [[line(9000, pad=1_000_000)], block(9001, 9002, 9003, pad=300_000), block(9000.5)]
    segments = [trickle, bulk, snapshots]
    disk = SimDisk()
    chunks = list(read_in_order(disk, planned(disk, segments), form=form, bytes_max=PLENTY))
    assert max(map(len, chunks)) <= CHUNK_BYTES_MAX
    assert (
        sum(len(chunk) < CHUNK_BYTES // 2 for chunk in chunks) <= 1 + 4
    )  # the last one, and ends of large ones
    lines = answer(segments)
    assert b"".join(chunks) == (
        b"[" + b",\n".join(lines) + b"]" if form is JSON_ARRAY else b"\n".join(lines) + b"\n"
    )


def test_memory_follows_the_largest_block_not_the_recording() -> None:
    size = 4 << 20
    disk = SimDisk()
    table = planned(disk, [[[line(index, pad=size)] for index in range(6)]])
    tracemalloc.start()
    try:
        for _ in read_in_order(disk, table, form=NDJSON, bytes_max=PLENTY):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The block and its lines, then the lines and the chunk: two of each, and small change.
    assert peak < 2.25 * size


def test_a_damaged_block_breaks_the_stream_after_the_good_ones() -> None:
    blocks = [block(*range(start, start + 400), pad=200) for start in (0, 400, 800)]
    disk = SimDisk()
    table = planned(disk, [blocks])
    _, header = table.block(2)
    data = bytearray(disk.read(path_of(1, "active"), 0, 1 << 30))
    data[header.data_offset + 20] ^= 1
    disk.put(path_of(1, "active"), bytes(data))
    good: list[bytes] = []
    with pytest.raises(CorruptSegment) as caught:
        good.extend(read_in_order(disk, table, form=NDJSON, bytes_max=PLENTY))
    assert caught.value.offset == header.offset
    assert good
    assert ndjson([blocks[:2]]).startswith(b"".join(good))


def test_lines_that_contradict_their_header_break_the_stream() -> None:
    lying = draft(block(5, 7), 1)._replace(last_ts=6.5)
    disk = SimDisk()
    snapshot = put(disk, [[]])
    data = encode_drafts([lying, draft(block(6, 6), 3)], number=1, first_seq=1)
    disk.put(path_of(1, "active"), data)
    rows = (snapshot.segments[0]._replace(size=len(data)),)
    with pytest.raises(CorruptSegment, match="not what the header says"):
        read(disk, plan(disk, DATA, snapshot._replace(segments=rows)))


def test_a_segment_sealed_between_plan_and_read_is_read() -> None:
    segments: list[Segment] = [[block(1, 3)], [block(2, 4)]]
    disk = SimDisk()
    table = planned(disk, segments)
    seal(disk, 2)
    assert read(disk, table) == ndjson(segments)


def test_a_segment_sealed_in_the_middle_of_reading_is_read() -> None:
    segments: list[Segment] = [[block(start, start + 1, pad=CHUNK_BYTES) for start in range(0, 20, 2)]]
    disk = SimDisk()
    chunks = read_in_order(disk, planned(disk, segments), form=NDJSON, bytes_max=PLENTY)
    first = next(chunks)
    seal(disk, 1)
    assert first + b"".join(chunks) == ndjson(segments)


def test_a_recording_that_grows_is_read_as_of_its_snapshot() -> None:
    segments: list[Segment] = [[block(1, 2)]]
    disk = SimDisk()
    table = planned(disk, segments)
    disk.put(path_of(1, "active"), encode([*segments[0], block(0)], number=1, first_seq=1))
    assert read(disk, table) == ndjson(segments)


class LazyDisk(OsDisk):
    """A real disk that remembers who reads, and whose reads can be held up.

    Method. ``gate`` is open unless a test closes it; ``entered`` tells that a reader stands before it.
    """

    def __init__(self) -> None:
        self.readers: set[int] = set()
        self.reads = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def read(self, path: str, offset: int, size: int) -> bytes:
        self.readers.add(threading.get_ident())
        self.reads += 1
        self.entered.set()
        assert self.gate.wait(10)
        return super().read(path, offset, size)


BIG: list[Segment] = [[block(*range(start, start + 100), pad=10_000) for start in range(0, 600, 100)]]


def lazy(tmp_path: Path, segments: list[Segment]) -> tuple[LazyDisk, Table]:
    disk = LazyDisk()
    model = SimDisk()
    snapshot = put(model, segments)
    for path, data in model.files().items():
        target = tmp_path / path.removeprefix(DATA + "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    table = plan(disk, str(tmp_path), snapshot)
    disk.readers.clear()
    disk.reads = 0
    disk.entered.clear()
    return disk, table


async def test_async_reading_gives_the_same_without_holding_up_the_loop(tmp_path: Path) -> None:
    disk, table = lazy(tmp_path, BIG)
    chunks = [chunk async for chunk in stream(disk, table, form=NDJSON, bytes_max=PLENTY)]
    assert b"".join(chunks) == ndjson(BIG)
    assert disk.readers
    assert threading.get_ident() not in disk.readers


async def test_damage_reaches_the_async_reader(tmp_path: Path) -> None:
    disk, table = lazy(tmp_path, [[block(1)]])
    path = next((tmp_path / "active").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptSegment):
        async for _ in stream(disk, table, form=NDJSON, bytes_max=PLENTY):
            pass


async def test_closing_early_reads_no_further_and_frees_everything(tmp_path: Path) -> None:
    disk, table = lazy(tmp_path, BIG)
    async with aclosing(stream(disk, table, form=NDJSON, bytes_max=PLENTY)) as chunks:
        async for _ in chunks:
            break
    assert 0 < disk.reads < len(table)
    kept = weakref.ref(disk)
    del chunks, disk
    assert await _dies(kept)


async def test_cancelling_returns_at_once_and_frees_everything_when_the_thread_is_done(
    tmp_path: Path,
) -> None:
    disk, table = lazy(tmp_path, BIG)
    disk.gate.clear()

    async def reads(disk: LazyDisk) -> None:
        async with aclosing(stream(disk, table, form=NDJSON, bytes_max=PLENTY)) as chunks:
            async for _ in chunks:
                pass

    task = asyncio.create_task(reads(disk))
    assert await asyncio.to_thread(disk.entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    disk.gate.set()
    kept = weakref.ref(disk)
    del reads, task, disk
    assert await _dies(kept)


async def _dies(kept: weakref.ref[LazyDisk]) -> bool:
    """Wait until nobody refers to the disk any more: then nobody reads it either."""
    deadline = time.monotonic() + 10
    while kept() is not None and time.monotonic() < deadline:
        gc.collect()
        await asyncio.sleep(0)
    return kept() is None
