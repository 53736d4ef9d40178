"""A table's blocks, read and taken apart, for a merge."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from rrd.errors import CorruptSegment
from rrd.playback.bodies import Events, are_long, as_arrived, is_plain, take_apart, view
from rrd.playback.table import ALWAYS, Between, PlaybackTable, cost_of
from rrd.segment.reader import DecodeBuffer

CHUNK_BYTES = 240 << 10
"""About the size of a chunk. Writing one costs 20 µs whatever its size; twice this is no faster."""


class Blocks:
    """The events of blocks, less what is not in the table's range."""

    def __init__(self, table: PlaybackTable, *, whole_lines: bool = False) -> None:
        """``whole_lines``: with the lines as they are stored, and not with bodies made of them."""
        self._table = table
        self._is_all = table.between == ALWAYS
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
        is_whole = self._is_all or between.has_all_of(header)
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
        return events if is_whole else _cut(events, between)

    def arrived(self) -> Iterator[Events]:
        """Yield the events of all blocks in the order in which they arrived, without timestamps.

        The range may be one of numbers alone. Raises as ``load`` does.
        """
        self.are_lent = False
        for number in range(len(self._table)):
            source, header = self._table.block(number)
            try:
                events = as_arrived(source.events(header), header)
            except ValueError as error:
                raise CorruptSegment(
                    f"{error}, in the block", path=source.path, offset=header.offset
                ) from error
            yield _numbered(events, self._table.between)

    def cost_of(self, block: int) -> int:
        """Return the bytes of memory that the events of a block take."""
        _, header = self._table.block(block)
        return cost_of(header)


def _cut(events: Events, between: Between) -> Events:
    """Return those of a block's events in playback order that are in a range. They have timestamps."""
    start, limit = (bisect_left(events.times, time) for time in (between.start, between.limit))
    if between.start_seq:
        # Events of one timestamp are in the order of their numbers.
        same = bisect_right(events.times, between.start, start)
        start = bisect_left(events.seqs, between.start_seq, start, same)
    return _numbered(events.slice(start, limit), between)


def _numbered(events: Events, between: Between) -> Events:
    """Return those of a block's events whose numbers are in a range."""
    if isinstance(events.seqs, range):
        first, limit = (
            min(max(seq - events.seqs.start, 0), len(events.seqs))
            for seq in (between.first_seq, between.limit_seq)
        )
        return events if limit - first == len(events.seqs) else events.slice(first, limit)
    kept = [index for index, seq in enumerate(events.seqs) if between.first_seq <= seq < between.limit_seq]
    return events if len(kept) == len(events.seqs) else events.pick(kept)


def _whole_lines(raw: bytes, events: Events, first_seq: int) -> Events:
    """Put the lines as they are stored in the place of the bodies that were made of them."""
    lines = raw.split(b"\n")
    lines.pop()
    if isinstance(events.seqs, range):
        return events._replace(bodies=lines)
    return events._replace(bodies=[lines[seq - first_seq] for seq in events.seqs])
