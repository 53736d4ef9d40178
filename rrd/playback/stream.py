"""A recording's events as the bytes of a response: blocks read, merged, spliced, cut into chunks.

``read_in_order`` is a plain generator that blocks on the disk or the object store. Memory: the merge's
budget, and about twice the largest block; for objects what ``objects.files`` holds, all
readers together; where local files went away meanwhile, two blocks of an object more.

A damaged block raises ``CorruptSegment`` in the middle of a response, and a store that went away
``StoreAway``. The caller breaks the connection then, since an answer that looks whole would leave events
out in silence.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator
from itertools import accumulate

from rrd.playback.blocks import CHUNK_BYTES, Blocks
from rrd.playback.bodies import Events
from rrd.playback.order import Merge
from rrd.playback.retime import Retimer
from rrd.playback.splice import Body, Form, Splicer
from rrd.playback.table import ALWAYS, PlaybackTable

CHUNK_BYTES_MAX = 512 << 10
"""No chunk is larger: an event of 20 MB goes out in pieces, so that compressing one piece holds up nobody."""


def read_in_order(
    table: PlaybackTable, *, form: Form, bytes_max: int, by_arrival: bool = False, shift_ms: int = 0
) -> Generator[bytes, None, None]:
    """Yield the events of a table's range by (timestamp, arrival) as chunks, whose edges mean nothing.

    ``by_arrival``: by arrival alone; the range is one of numbers.
    ``shift_ms``: is added to all timestamps, and what they were is kept (``retime``); 0 leaves them alone.
    ``bytes_max``: budget for decoded blocks (``order``). Blocking. Raises ``CorruptSegment`` where a block is
    not what was acked, ``OSError`` or ``StoreAway`` if it can't be read; everything yielded before is good.
    """
    blocks = Blocks(table)
    splicer = Retimer(table.recording_id, form, shift_ms) if shift_ms else Splicer(table.recording_id, form)
    pieces: list[Body] = [form.opening]
    size = count = 0
    for run in blocks.arrived() if by_arrival else in_order(table, blocks, bytes_max):
        for part, part_size in parts_of(run, splicer.tail_size):
            pieces += splicer.splice(part.bodies, part.seqs, part.own)
            count += len(part.bodies)
            size += part_size
            if size >= CHUNK_BYTES:
                # What ends an event is another thing if it is the last one, so it waits for the next.
                end = pieces.pop()
                yield from chunks_of(pieces)
                pieces, size = [end], 0
        if blocks.are_lent:
            pieces[:-1] = [b"".join(pieces[:-1])]
        # Not to be kept alive while the next block is decoded.
        del run, part
    assert count == table.event_count or table.between != ALWAYS
    if count:
        splicer.close(pieces)
        yield from chunks_of(pieces)
    elif form.empty:
        yield form.empty


def in_order(table: PlaybackTable, blocks: Blocks, bytes_max: int) -> Iterator[Events]:
    """Yield the events of a table's range by (timestamp, arrival), as many at a time as can be."""
    return Merge(
        table.first_ts, table.last_ts, load=blocks.load, cost_of=blocks.cost_of, bytes_max=bytes_max
    ).runs()


def chunks_of(pieces: list[Body]) -> Iterator[bytes]:
    """Yield pieces as chunks of ``CHUNK_BYTES_MAX`` at most. Each byte is copied once."""
    limits = list(accumulate(map(len, pieces)))
    size = limits[-1] if limits else 0
    if size <= CHUNK_BYTES_MAX:
        yield b"".join(pieces)
        return
    start = first = 0
    while start < size:
        end = min(start + CHUNK_BYTES_MAX, size)
        last = bisect_left(limits, end, first)
        chunk = pieces[first : last + 1]
        # Its last piece may go on in the next chunk, and its first one have begun in the one before.
        chunk[-1] = memoryview(chunk[-1])[: end - limits[last] + len(chunk[-1])]
        chunk[0] = memoryview(chunk[0])[start - limits[first] + len(pieces[first]) :]
        yield b"".join(chunk)
        start, first = end, last if limits[last] > end else last + 1


def parts_of(run: Events, tail_size: int) -> Iterator[tuple[Events, int]]:
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
