"""Recordings as they are stored: the lines as they were sent, in the frames that lie in the files."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import CorruptSegment, StoreAway
from rrd.objects.files import ObjectFiles
from rrd.playback.stored import CHUNK_BYTES_MAX, SPAN_BYTES, read_stored, stored_size
from rrd.playback.table import PlaybackTable, plan
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
from tests.playback.frames import frames_of
from tests.playback.recordings import (
    DATA,
    Block,
    Run,
    Segment,
    VanishingDisk,
    any_block_bytes,
    any_recording,
    any_runs,
    block,
    key_of,
    line,
    longer_recording,
    path_of,
    put,
    seal,
    spread,
)
from tests.simdisk import SimDisk


def chunks_of(table: PlaybackTable) -> Iterator[bytes]:
    """Read it, a chunk at a time. ``SimDisk`` has half of what is asked for at hand."""
    with ThreadPoolExecutor(1) as threads, asyncio.Runner() as runner:
        chunks = read_stored(table, threads=threads)
        try:
            while (chunk := runner.run(following(chunks))) is not None:
                yield chunk
        finally:
            runner.run(chunks.aclose())


async def following(chunks: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(chunks, None)


def read(table: PlaybackTable) -> bytes:
    return b"".join(chunks_of(table))


def sent(segments: list[Segment]) -> bytes:
    return b"".join(line.raw + b"\n" for blocks in segments for block in blocks for line in block)


def noisy(timestamp: float, size: int) -> Block:
    """One event that doesn't compress."""
    (one,) = block(timestamp)
    noise = random.Random(timestamp).randbytes(size // 2).hex().encode()
    return [one._replace(raw=one.raw.replace(b'""', b'"%s"' % noise))]


@given(any_recording)
def test_the_frames_in_the_files_are_what_is_sent(files: ObjectFiles, segments: list[Segment]) -> None:
    disk = SimDisk()
    snapshot = put(disk, segments)
    in_files = [
        disk.read(path, header.data_offset, header.data_size)
        for path in (path_of(row.number, row.state) for row in snapshot.segments)
        for header in scan(disk, path).blocks
        if header.event_count
    ]
    table = plan(disk, files, DATA, snapshot)
    body = read(table)
    assert b"".join(frames_of(body)) == sent(segments)
    assert stored_size(table) == len(body)
    if in_files:
        assert body == b"".join(in_files)


@pytest.mark.parametrize("segments", [[], [[]], [[[], []]]])
def test_a_recording_without_events_is_a_frame_without_any(
    files: ObjectFiles, segments: list[Segment]
) -> None:
    disk = SimDisk()
    assert frames_of(read(plan(disk, files, DATA, put(disk, segments)))) == [b""]


@given(longer_recording, any_runs, any_block_bytes)
def test_it_makes_no_difference_where_events_are(
    segments: list[Segment], runs: list[Run], block_bytes: int
) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, segments, runs, block_bytes=block_bytes)
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot)
        body = read(table)
        assert b"".join(frames_of(body)) == sent(segments)
        assert stored_size(table) in {None, len(body)}


@given(longer_recording, st.lists(st.integers(1, 3), max_size=5), any_block_bytes, st.integers(0, 20))
def test_local_files_may_go_at_any_moment_of_reading(
    segments: list[Segment], lengths: list[int], block_bytes: int, moment: int
) -> None:
    disk, store = VanishingDisk(moment), MemoryStore()
    runs = [Run(length, "rolled") for length in lengths]
    snapshot = spread(disk, store, segments, runs, block_bytes=block_bytes)
    disk.doomed = list(snapshot.objects)
    with files_of(store) as objects:
        assert b"".join(frames_of(read(plan(disk, objects, DATA, snapshot)))) == sent(segments)


def test_a_damaged_local_copy_is_made_good_for_by_its_object() -> None:
    segments: list[Segment] = [[noisy(start, 5000), block(start + 1)] for start in range(0, 40, 10)]
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, segments, [Run(3, "rolled")])
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot)
        # Frames made anew are as long as they come out.
        assert stored_size(table) is None
        flip(disk, path_of(2, "sealed"), table.block(2)[1].data_offset + 20)
        assert b"".join(frames_of(read(table))) == sent(segments)


def test_a_segment_sealed_in_the_middle_of_reading_is_read(files: ObjectFiles) -> None:
    segments: list[Segment] = [[noisy(start, 2 * SPAN_BYTES) for start in range(10)]]
    disk = SimDisk()
    chunks = chunks_of(plan(disk, files, DATA, put(disk, segments)))
    first = next(chunks)
    seal(disk, 1)
    assert b"".join(frames_of(first + b"".join(chunks))) == sent(segments)


@pytest.mark.parametrize("size", [100, 20_000, 2 * SPAN_BYTES])
def test_a_flipped_bit_breaks_it_off_after_good_blocks(files: ObjectFiles, size: int) -> None:
    segments: list[Segment] = [[noisy(start, size) for start in range(20)]]
    disk = SimDisk()
    snapshot = put(disk, segments)
    for number in (0, 7, 19):
        table = plan(disk, files, DATA, snapshot)
        whole = read(table)
        _, header = table.block(number)
        for offset in (header.data_offset, header.limit_offset - 1):
            flip(disk, path_of(1, "active"), offset)
            good: list[bytes] = []
            with pytest.raises(CorruptSegment) as caught:
                good.extend(chunks_of(table))
            assert caught.value.offset == header.offset
            assert whole.startswith(b"".join(good))
            assert len(frames_of(b"".join(good))) <= number
            flip(disk, path_of(1, "active"), offset)


def flip(disk: SimDisk, path: str, offset: int) -> None:
    data = bytearray(disk.read(path, 0, 1 << 30))
    data[offset] ^= 1
    disk.put(path, bytes(data))


def test_a_store_that_goes_away_breaks_it_off() -> None:
    disk, store = SimDisk(), MemoryStore()
    segments: list[Segment] = [[noisy(start, 500_000) for start in range(60)], []]
    snapshot = spread(disk, store, segments, [Run(1, "evicted")], block_bytes=400_000)
    with files_of(store) as objects:
        chunks = chunks_of(plan(disk, objects, DATA, snapshot))
        good = [next(chunks)]
        store.fail()
        with pytest.raises(StoreAway):
            good.extend(chunks)


def test_a_damaged_object_is_named_and_never_served_as_if_whole() -> None:
    disk, store = SimDisk(), MemoryStore()
    segments: list[Segment] = [[noisy(start, 5000) for start in range(20)], []]
    snapshot: Holdings = spread(disk, store, segments, [Run(1, "evicted")], block_bytes=5000)
    key = key_of(snapshot.objects[0])
    store.damage(key, snapshot.objects[0].size // 2)
    with files_of(store) as objects, pytest.raises(CorruptSegment) as caught:
        read(plan(disk, objects, DATA, snapshot))
    assert caught.value.path == key


def test_a_trickle_takes_few_reads_and_comes_in_few_chunks(files: ObjectFiles) -> None:
    disk = CountingDisk()
    segments: list[Segment] = [[block(start) for start in range(5000)]]
    table = plan(disk, files, DATA, put(disk, segments))
    disk.reads = 0
    chunks = list(chunks_of(table))
    assert b"".join(frames_of(b"".join(chunks))) == sent(segments)
    size = disk.size(path_of(1, "active"))
    assert disk.reads == len(chunks) <= size // SPAN_BYTES + 1


class CountingDisk(SimDisk):
    """Counts its reads."""

    reads = 0

    def read(self, path: str, offset: int, size: int) -> bytes:
        self.reads += 1
        return super().read(path, offset, size)


def test_memory_follows_the_largest_block_not_the_recording(files: ObjectFiles) -> None:
    size = 4 << 20
    disk = SimDisk()
    segments: list[Segment] = [[noisy(start, size) for start in range(6)]]
    table = plan(disk, files, DATA, put(disk, segments))
    tracemalloc.start()
    try:
        most = max(map(len, chunks_of(table)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most <= CHUNK_BYTES_MAX
    # Hex digits take half of their size: a block, the next one, and what the simulated disk copies.
    assert peak < 2 * size


def test_lines_come_as_they_were_sent(files: ObjectFiles) -> None:
    odd = [line(2)._replace(raw=b' {"timestamp" : 2,"type":3} \r'), line(1)]
    disk = SimDisk()
    body = read(plan(disk, files, DATA, put(disk, [[odd]])))
    assert frames_of(body) == [odd[0].raw + b"\n" + odd[1].raw + b"\n"]
