"""A recording's events as the bytes of a response: blocks read, merged, spliced, cut into chunks.

``read_in_order`` is a plain generator that blocks on the disk; ``stream`` runs it in a worker thread a few
chunks at a time. Memory: the merge's budget, and about twice the largest block while it is decoded.

A damaged block raises ``CorruptSegment`` in the middle of a response. The caller breaks the
connection then, since an answer that looks whole would leave events out in silence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Iterator

from rrd.errors import CorruptSegment
from rrd.playback.bodies import Events, take_apart
from rrd.playback.order import EVENT_OVERHEAD, Merge
from rrd.playback.splice import Form, Splicer
from rrd.playback.table import Table
from rrd.segment.disk import Disk
from rrd.segment.reader import read_events

CHUNK_BYTES = 64 << 10
"""About the size of a chunk. Joining costs 30 ns an event at this size and 150 at four times as much, where
malloc maps fresh pages each time (glibc's M_MMAP_THRESHOLD is 128 KiB)."""

CHUNK_BYTES_MAX = 256 << 10
"""No chunk is larger: an event of 20 MB goes out in pieces, so that compressing one piece holds up nobody."""

_HOP_BYTES = 512 << 10
"""What one visit to the worker thread brings back: a hop costs 0.1 ms, and a chunk hardly more."""


def read_in_order(disk: Disk, table: Table, *, form: Form, bytes_max: int) -> Generator[bytes, None, None]:
    """Yield all events of a recording by (timestamp, arrival) as chunks, whose edges mean nothing.

    ``bytes_max``: budget for decoded blocks (``order``). Blocking. Raises ``CorruptSegment`` where a block is
    not what was acked, ``OSError`` if it can't be read; everything yielded before is good.
    """
    if table.event_count == 0:
        if form.empty:
            yield form.empty
        return
    blocks = _Blocks(disk, table)
    merge = Merge(
        table.first_ts, table.last_ts, load=blocks.load, cost_of=blocks.cost_of, bytes_max=bytes_max
    )
    splicer = Splicer(table.recording, form)
    pieces, size, left = [form.opening], 0, table.event_count
    for run in merge.runs():
        for part, part_size in _parts(run, splicer.tail_size):
            pieces += splicer.splice(part.bodies, part.seqs, part.own)
            left -= len(part.bodies)
            size += part_size
            if left == 0:
                splicer.close(pieces)
            if size >= CHUNK_BYTES or left == 0:
                yield from _cut(b"".join(pieces))
                pieces, size = [], 0
        # Not to be kept alive while the next block is decoded.
        del run, part
    assert left == 0


async def stream(disk: Disk, table: Table, *, form: Form, bytes_max: int) -> AsyncGenerator[bytes, None]:
    """``read_in_order`` in a worker thread, so that the event loop is never held up.

    Close it (``contextlib.aclosing``) to free everything early. Cancelled while a thread reads, it
    returns at once; the thread ends after its hop and frees everything then.
    """
    chunks = read_in_order(disk, table, form=form, bytes_max=bytes_max)
    try:
        while hop := await asyncio.to_thread(_take, chunks):
            for chunk in hop:
                yield chunk
    finally:
        # "Generator already executing": a thread is still in it, and drops it when it leaves.
        with contextlib.suppress(ValueError):
            chunks.close()


def _take(chunks: Iterator[bytes]) -> list[bytes]:
    hop: list[bytes] = []
    size = 0
    for chunk in chunks:
        hop.append(chunk)
        size += len(chunk)
        if size >= _HOP_BYTES:
            break
    return hop


def _parts(run: Events, tail_size: int) -> Iterator[tuple[Events, int]]:
    """Cut a run into parts of about a chunk each, with their sizes in the response."""
    count = len(run.bodies)
    size = sum(map(len, run.bodies)) + tail_size * count
    if size <= 2 * CHUNK_BYTES:
        yield run, size
        return
    step = max(1, count * CHUNK_BYTES // size)
    for start in range(0, count, step):
        part = run.slice(start, start + step)
        yield part, sum(map(len, part.bodies)) + tail_size * len(part.bodies)


def _cut(data: bytes) -> Iterator[bytes]:
    if len(data) <= CHUNK_BYTES_MAX:
        yield data
        return
    for start in range(0, len(data), CHUNK_BYTES_MAX):
        yield data[start : start + CHUNK_BYTES_MAX]


class _Blocks:
    """A table's blocks, read from disk and taken apart."""

    def __init__(self, disk: Disk, table: Table) -> None:
        self._disk = disk
        self._table = table

    def load(self, block: int, *, timed: bool) -> Events:
        file, header = self._table.block(block)

        def read(path: str) -> Events:
            raw = read_events(self._disk, path, header)
            try:
                return take_apart(raw, header, timed=timed)
            except ValueError as error:
                message = f"{error}, in the block"
                raise CorruptSegment(message, path=path, offset=header.offset) from error

        return file.read(read)

    def cost_of(self, block: int) -> int:
        _, header = self._table.block(block)
        return header.raw_size + EVENT_OVERHEAD * header.event_count
