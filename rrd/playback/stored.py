"""A recording as it is stored: its blocks' zstd frames one after the other, nothing decoded, nothing added.

Together they are one valid ``.zst`` file, which decodes to the lines as they were sent, in order of arrival.
Only frames with events are in it: the skippable ones between them hold headers, and beside these what is
nobody's event, quarantined lines and metadata.

Each block's checksum is looked at before anything of the block goes out. Memory: a chunk, or the largest
block as it is stored; what ``playback.sources`` holds where local files went away meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import zstandard

from rrd.playback.hops import cut
from rrd.playback.sources import BlockSource
from rrd.playback.table import ALWAYS, Table
from rrd.segment.format import BlockHeader

SPAN_BYTES = 128 << 10
"""Blocks that lie within this are read together: those of a trickle, some hundred bytes each. Larger ones
are read one by one, and go out without being copied."""

CHUNK_BYTES_MAX = 512 << 10
"""No chunk is larger, so that who takes his time still takes one within the time that he has for it."""

_NO_EVENTS = zstandard.ZstdCompressor(level=1).compress(b"")
"""A file without any frame is not a zstd file (RFC 8878, section 3)."""


def read_stored(table: Table) -> Generator[bytes, None]:
    """Yield the data of all blocks as chunks, whose edges mean nothing.

    Blocking. Raises ``CorruptSegment`` where a block is not what was acked, ``OSError`` or ``StoreAway`` if
    it can't be read; everything yielded before is good, and ends with a whole frame.
    """
    assert table.between == ALWAYS, "a block is stored as a whole"
    for source, headers in _spans(table):
        frames = source.data(headers)
        yield from cut(frames[0] if len(frames) == 1 else b"".join(frames), CHUNK_BYTES_MAX)
    if not len(table):
        yield _NO_EVENTS


def stored_size(table: Table) -> int | None:
    """Return how many bytes ``read_stored`` yields. None if others may have to stand in for some of them."""
    if any(file.has_stand_in for file in table.files):
        return None
    return table.data_size if len(table) else len(_NO_EVENTS)


def _spans(table: Table) -> Iterator[tuple[BlockSource, list[BlockHeader]]]:
    """Yield runs of neighbouring blocks in one file, as many as are worth one read."""
    span: list[BlockHeader] = []
    source: BlockSource | None = None
    for number in range(len(table)):
        file, header = table.block(number)
        if source is not None and (
            file is not source or header.limit_offset - span[0].notes_offset > SPAN_BYTES
        ):
            yield source, span
            span = []
        source = file
        span.append(header)
    if source is not None:
        yield source, span
