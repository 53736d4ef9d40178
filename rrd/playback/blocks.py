"""A table's blocks, read and taken apart, for a merge."""

from __future__ import annotations

from bisect import bisect_left

from rrd.errors import CorruptSegment
from rrd.playback.bodies import Events, are_long, is_plain, take_apart, view
from rrd.playback.order import EVENT_OVERHEAD
from rrd.playback.table import PlaybackTable
from rrd.segment.reader import DecodeBuffer

CHUNK_BYTES = 240 << 10
"""About the size of a chunk. Writing one costs 20 µs whatever its size; twice this is no faster."""


class Blocks:
    """The events of blocks, less what is not in the table's range."""

    def __init__(self, table: PlaybackTable, *, whole_lines: bool = False) -> None:
        """``whole_lines``: with the lines as they are stored, and not with bodies made of them."""
        self._table = table
        self._whole_lines = whole_lines
        self._room = DecodeBuffer()
        self.are_lent = False
        """The events loaded last are views, good until the next are loaded."""

    def load(self, block: int, *, timed: bool) -> Events:
        """Return the events of a block. Blocking. ``timed``: their timestamps are needed.

        Raises ``CorruptSegment``, ``OSError``, ``StoreAway``.
        """
        source, header = self._table.block(block)
        between = self._table.between
        is_whole = between.holds(header.first_ts, header.last_ts)
        timed = timed or not is_whole
        # Small blocks are not worth it: what is left of one is joined before the next.
        is_large = is_plain(header) and are_long(header) and header.raw_size >= CHUNK_BYTES
        self.are_lent = not timed and is_large and not self._whole_lines
        try:
            if self.are_lent:
                source.events_into(header, self._room)
                return view(self._room.data, header)
            raw = source.events(header)
            events = take_apart(raw, header, timed=timed)
        except ValueError as error:
            raise CorruptSegment(f"{error}, in the block", path=source.path, offset=header.offset) from error
        if self._whole_lines:
            events = _whole_lines(raw, events, header.first_seq)
        if is_whole:
            return events
        start = bisect_left(events.times, between.start)
        return events.slice(start, bisect_left(events.times, between.limit))

    def cost_of(self, block: int) -> int:
        """Return the bytes of memory that the events of a block take."""
        _, header = self._table.block(block)
        return header.raw_size + EVENT_OVERHEAD * header.event_count


def _whole_lines(raw: bytes, events: Events, first_seq: int) -> Events:
    """Put the lines as they are stored in the place of the bodies that were made of them."""
    lines = raw.split(b"\n")
    lines.pop()
    if isinstance(events.seqs, range):
        return events._replace(bodies=lines)
    return events._replace(bodies=[lines[seq - first_seq] for seq in events.seqs])
