"""A recording as it is stored: its blocks' zstd frames one after the other, nothing decoded, nothing added.

Together they are one valid ``.zst`` file, which decodes to the lines as they were sent, in order of arrival.
Only frames with events are in it: the skippable ones between them hold headers, and beside these what is
nobody's event, quarantined lines and metadata.

Each block's checksum is looked at before anything of the block goes out. Memory: what a hop brings, or the
largest block as it is stored; what ``playback.sources`` holds where local files went away meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor
from typing import NamedTuple

import zstandard

from rrd.playback.sources import BlockFile
from rrd.playback.table import ALWAYS, PlaybackTable
from rrd.segment.format import BlockHeader

SPAN_BYTES = 128 << 10
"""Blocks that lie within this are read together: those of a trickle, some hundred bytes each. Larger ones
are read one by one, and go out without being copied."""

CHUNK_BYTES_MAX = 512 << 10
"""No chunk is larger, so that who takes his time still takes one within the time that he has for it."""

_HOP_BYTES = 2 << 20
"""What one visit to a thread brings back. Reading so much takes 1 ms, the visit itself 0.2."""

_TURN_BYTES = 1 << 20
"""How much is read on the event loop and sent before others get their turn: 1 ms."""

_NO_EVENTS = zstandard.ZstdCompressor(level=1).compress(b"")
"""A file without any frame is not a zstd file (RFC 8878, section 3)."""


async def read_stored(table: PlaybackTable, *, threads: Executor) -> AsyncGenerator[bytes, None]:
    """Yield the data of all blocks as chunks, whose edges mean nothing.

    What is at hand is read right here, since it takes less time than to have a thread do it; ``threads``
    wait for the rest. Raises ``CorruptSegment`` where a block is not what was acked, ``OSError`` or
    ``StoreAway`` if it can't be read; everything yielded before is good, and ends with a whole frame.
    """
    assert table.between == ALWAYS, "a block is stored as a whole"
    loop = asyncio.get_running_loop()
    spans = _spans(table)
    turn = 0
    for span in spans:
        frames = span.source.data_now(span.headers)
        if frames is None:
            hop = await loop.run_in_executor(threads, _read_on, span, spans)
        else:
            hop = [_joined(frames)]
        for data in hop:
            for chunk in _cut(data):
                yield chunk
        turn += sum(map(len, hop))
        if turn >= _TURN_BYTES:
            turn = 0
            await asyncio.sleep(0)
    if not len(table):
        yield _NO_EVENTS


def stored_size(table: PlaybackTable) -> int | None:
    """Return how many bytes ``read_stored`` yields. None if others may have to stand in for some of them."""
    if any(file.has_stand_in for file in table.files):
        return None
    return table.data_size if len(table) else len(_NO_EVENTS)


class _Span(NamedTuple):
    """Neighbouring blocks in one file, as many as are worth one read."""

    source: BlockFile
    headers: list[BlockHeader]


def _spans(table: PlaybackTable) -> Iterator[_Span]:
    span: _Span | None = None
    for number in range(len(table)):
        source, header = table.block(number)
        if span is not None and (
            source is not span.source or header.limit_offset - span.headers[0].notes_offset > SPAN_BYTES
        ):
            yield span
            span = None
        if span is None:
            span = _Span(source, [])
        span.headers.append(header)
    if span is not None:
        yield span


def _read_on(first: _Span, following: Iterator[_Span]) -> list[bytes]:
    """Return the data of a span, and of those after it for as long as that isn't much. Blocking."""
    hop = [_joined(first.source.data(first.headers))]
    size = len(hop[0])
    while size < _HOP_BYTES and (span := next(following, None)) is not None:
        hop.append(_joined(span.source.data(span.headers)))
        size += len(hop[-1])
    return hop


def _joined(frames: list[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"".join(frames)


def _cut(data: bytes) -> Iterator[bytes]:
    if len(data) <= CHUNK_BYTES_MAX:
        yield data
        return
    for start in range(0, len(data), CHUNK_BYTES_MAX):
        yield data[start : start + CHUNK_BYTES_MAX]
