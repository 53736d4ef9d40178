"""A recording's events as the bytes of a response: blocks read, merged, spliced, cut into chunks.

``read_in_order`` is a plain generator that blocks on the disk or the object store. Memory: the merge's
budget, and about twice the largest block; for objects what ``objects.files`` holds, all
readers together; where local files went away meanwhile, two blocks of an object more.

A damaged block raises ``CorruptSegment`` in the middle of a response, and a store that went away
``StoreAway``. The caller breaks the connection then, since an answer that looks whole would leave events
out in silence.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from rrd.playback.blocks import CHUNK_BYTES, Blocks
from rrd.playback.bodies import Events
from rrd.playback.order import Merge
from rrd.playback.splice import Body, Form, Splicer
from rrd.playback.table import ALWAYS, PlaybackTable

CHUNK_BYTES_MAX = 512 << 10
"""No chunk is larger: an event of 20 MB goes out in pieces, so that compressing one piece holds up nobody."""


def read_in_order(
    table: PlaybackTable, *, form: Form, bytes_max: int, by_arrival: bool = False
) -> Generator[bytes, None, None]:
    """Yield the events of a table's range by (timestamp, arrival) as chunks, whose edges mean nothing.

    ``by_arrival``: by arrival alone; the range is one of numbers.
    ``bytes_max``: budget for decoded blocks (``order``). Blocking. Raises ``CorruptSegment`` where a block is
    not what was acked, ``OSError`` or ``StoreAway`` if it can't be read; everything yielded before is good.
    """
    blocks = Blocks(table)
    splicer = Splicer(table.recording_id, form)
    pieces: list[Body] = [form.opening]
    size = count = 0
    for run in blocks.arrived() if by_arrival else in_order(table, blocks, bytes_max):
        for part, part_size in _parts(run, splicer.tail_size):
            pieces += splicer.splice(part.bodies, part.seqs, part.own)
            count += len(part.bodies)
            size += part_size
            if size >= CHUNK_BYTES:
                # What ends an event is another thing if it is the last one, so it waits for the next.
                end = pieces.pop()
                yield from _chunks(pieces)
                pieces, size = [end], 0
        if blocks.are_lent:
            pieces[:-1] = [b"".join(pieces[:-1])]
        # Not to be kept alive while the next block is decoded.
        del run, part
    assert count == table.event_count or table.between != ALWAYS
    if count:
        splicer.close(pieces)
        yield from _chunks(pieces)
    elif form.empty:
        yield form.empty


def in_order(table: PlaybackTable, blocks: Blocks, bytes_max: int) -> Iterator[Events]:
    """Yield the events of a table's range by (timestamp, arrival), as many at a time as can be."""
    return Merge(
        table.first_ts, table.last_ts, load=blocks.load, cost_of=blocks.cost_of, bytes_max=bytes_max
    ).runs()


def _chunks(pieces: list[Body]) -> Iterator[bytes]:
    """Yield pieces as chunks of ``CHUNK_BYTES_MAX`` at most. Each byte is copied once."""
    if sum(map(len, pieces)) <= CHUNK_BYTES_MAX:
        yield b"".join(pieces)
        return
    chunk: list[Body] = []
    size = 0
    for piece in pieces:
        rest = memoryview(piece)
        while size + len(rest) > CHUNK_BYTES_MAX:
            limit = CHUNK_BYTES_MAX - size
            yield b"".join((*chunk, rest[:limit]))
            chunk, size, rest = [], 0, rest[limit:]
        chunk.append(rest)
        size += len(rest)
    yield b"".join(chunk)


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
