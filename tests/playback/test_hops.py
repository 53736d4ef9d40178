"""Chunks made in worker threads: the loop is never held up, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from contextlib import aclosing
from pathlib import Path

import pytest

from rrd.disk.disk import OsDisk
from rrd.errors import CorruptSegment
from rrd.objects.files import ObjectFiles
from rrd.playback.hops import in_thread
from rrd.playback.splice import NDJSON
from rrd.playback.stream import read_in_order
from rrd.playback.table import PlaybackTable, plan
from tests.playback.recordings import DATA, Segment, answer, block, put
from tests.simdisk import SimDisk

PLENTY = 64 << 20


def ndjson(segments: list[Segment]) -> bytes:
    return b"".join(line + b"\n" for line in answer(segments))


class LazyDisk(OsDisk):
    """A real disk that remembers who reads, and whose reads can be held up.

    Method. ``gate`` is open unless a test closes it; ``entered`` tells that a reader stands before it.
    """

    def __init__(self) -> None:
        super().__init__()
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


def hops(table: PlaybackTable, threads: Executor) -> AsyncGenerator[bytes, None]:
    return in_thread(read_in_order(table, form=NDJSON, bytes_max=PLENTY), threads=threads)


BIG: list[Segment] = [[block(*range(start, start + 100), pad=10_000) for start in range(0, 600, 100)]]


def lazy(tmp_path: Path, files: ObjectFiles, segments: list[Segment]) -> tuple[LazyDisk, PlaybackTable]:
    disk = LazyDisk()
    model = SimDisk()
    snapshot = put(model, segments)
    for path, data in model.files().items():
        target = tmp_path / path.removeprefix(DATA + "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    table = plan(disk, files, str(tmp_path), snapshot)
    disk.readers.clear()
    disk.reads = 0
    disk.entered.clear()
    return disk, table


async def test_async_reading_gives_the_same_without_holding_up_the_loop(
    files: ObjectFiles, tmp_path: Path, threads: Executor
) -> None:
    disk, table = lazy(tmp_path, files, BIG)
    chunks = [chunk async for chunk in hops(table, threads)]
    assert b"".join(chunks) == ndjson(BIG)
    assert disk.readers
    assert threading.get_ident() not in disk.readers


async def test_damage_reaches_the_async_reader(files: ObjectFiles, tmp_path: Path, threads: Executor) -> None:
    _, table = lazy(tmp_path, files, [[block(1)]])
    path = next((tmp_path / "active").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptSegment):
        async for _ in hops(table, threads):
            pass


async def test_closing_early_reads_no_further_and_frees_everything(
    files: ObjectFiles, tmp_path: Path, threads: Executor
) -> None:
    disk, table = lazy(tmp_path, files, BIG)
    async with aclosing(hops(table, threads)) as chunks:
        async for _ in chunks:
            break
    assert 0 < disk.reads < len(table)
    kept = weakref.ref(disk)
    del chunks, disk, table
    assert await _dies(kept)


async def test_cancelling_returns_at_once_and_frees_everything_when_the_thread_is_done(
    files: ObjectFiles, tmp_path: Path, threads: Executor
) -> None:
    disk, table = lazy(tmp_path, files, BIG)
    disk.gate.clear()

    async def reads(table: PlaybackTable) -> None:
        async with aclosing(hops(table, threads)) as chunks:
            async for _ in chunks:
                pass

    task = asyncio.create_task(reads(table))
    assert await asyncio.to_thread(disk.entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    disk.gate.set()
    kept = weakref.ref(disk)
    del reads, task, disk, table
    assert await _dies(kept)


async def _dies(kept: weakref.ref[LazyDisk]) -> bool:
    """Wait until nobody refers to the disk any more: then nobody reads it either."""
    deadline = time.monotonic() + 10
    while kept() is not None and time.monotonic() < deadline:
        gc.collect()
        await asyncio.sleep(0)
    return kept() is None
