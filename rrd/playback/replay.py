"""A composed replay as the bytes of a response: groups of many recordings, one after the other.

Each group is read as a range of time is (``order``), less what lies beyond its first and last event; its
times are moved as its events go out (``retime``). Tables of recordings are kept while they are small
together, and else made anew when their turn comes: the caller sees to it that what they are made of stays.

Memory: the merge's budget, about twice the largest block, ``TABLES_BYTES_MAX`` or the largest table, and the
groups themselves.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from itertools import accumulate
from math import inf, nextafter

from rrd.errors import CorruptSegment
from rrd.playback.blocks import CHUNK_BYTES, Blocks
from rrd.playback.bodies import Events, take_apart
from rrd.playback.compose import Group, Key, PlacedGroup
from rrd.playback.order import Merge
from rrd.playback.outline import is_kept_without_snapshot
from rrd.playback.retime import Retimer
from rrd.playback.splice import Body, Form
from rrd.playback.stream import chunks_of, parts_of
from rrd.playback.table import Between, PlaybackTable

TABLES_BYTES_MAX = 8 << 20
"""Tables of recordings kept at once, those used last: 50,000 blocks."""

_BLOCK_BYTES = 168
"""What a block takes in a table, with what finds it."""


class Tables:
    """Tables of the recordings of a replay, those used last at hand."""

    def __init__(self, make: Callable[[int], PlaybackTable], *, bytes_max: int = TABLES_BYTES_MAX) -> None:
        """``make`` returns the table of a recording by its number; the same each time. It may block."""
        self._make = make
        self._bytes_max = bytes_max
        self._held: OrderedDict[int, _Indexed] = OrderedDict()
        self.held_bytes = 0

    def forget(self, recording: int) -> None:
        """Have the table of a recording made anew."""
        found = self._held.pop(recording, None)
        if found is not None:
            self.held_bytes -= found.size

    def table(self, recording: int) -> PlaybackTable:
        """Return the table of a whole recording. Raises what ``make`` does."""
        return self._indexed(recording).table

    def of_group(self, group: Group) -> PlaybackTable:
        """Return the table of the blocks that may have events of a group. Raises what ``make`` does."""
        return self._indexed(group.recording).between(group.first, group.last)

    def _indexed(self, recording: int) -> _Indexed:
        found = self._held.get(recording)
        if found is None:
            found = _Indexed(self._make(recording))
            self._keep(recording, found)
        else:
            self._held.move_to_end(recording)
        return found

    def _keep(self, recording: int, found: _Indexed) -> None:
        self._held[recording] = found
        self.held_bytes += found.size
        while self.held_bytes > self._bytes_max and len(self._held) > 1:
            self.held_bytes -= self._held.popitem(last=False)[1].size


class _Indexed:
    """A table whose blocks are found by time, in as many steps as there are such blocks."""

    __slots__ = ("_first_seqs", "_firsts", "_lasts", "_order", "size", "table")

    def __init__(self, table: PlaybackTable) -> None:
        order = sorted(range(len(table)), key=table.first_ts.__getitem__)
        self.table = table
        self.size = _BLOCK_BYTES * len(table)
        self._order = array("L", order)
        self._first_seqs = array("Q", [table.block(number)[1].first_seq for number in range(len(table))])
        self._firsts = array("d", [table.first_ts[number] for number in order])
        # The greatest so far, so that it never falls.
        self._lasts = array("d", accumulate((table.last_ts[number] for number in order), max))

    def between(self, first: Key, last: Key) -> PlaybackTable:
        """Return the blocks that may have events from ``first`` to ``last``."""
        between = Between(first[0], nextafter(last[0], inf))
        if first[0] == last[0]:
            # Thousands of page views may have one time, and be told apart by their numbers alone.
            seqs = self._first_seqs
            numbers = range(max(bisect_right(seqs, first[1]) - 1, 0), bisect_right(seqs, last[1]))
            firsts, lasts = self.table.first_ts, self.table.last_ts
            return self.table.select(
                [number for number in numbers if firsts[number] <= first[0] <= lasts[number]], between
            )
        start, limit = bisect_left(self._lasts, first[0]), bisect_right(self._firsts, last[0])
        last_of = self.table.last_ts
        found = sorted(number for number in self._order[start:limit] if last_of[number] >= first[0])
        return self.table.select(found, between)


def replay_in_order(
    groups: Iterable[PlacedGroup], tables: Tables, *, form: Form, bytes_max: int
) -> Generator[bytes, None, None]:
    """Yield the events of all groups as chunks, whose edges mean nothing.

    ``bytes_max``: budget for decoded blocks. Blocking. Raises as ``read_in_order`` and ``Tables`` do;
    everything yielded before is good.
    """
    pieces: list[Body] = [form.opening]
    size = 0
    borders = _Borders(bytes_max // 2)
    retimer: Retimer | None = None
    for group, shift in groups:
        table = tables.of_group(group)
        keeps = None if group.has_snapshot else is_kept_without_snapshot
        current = Retimer(table.recording_id, form, shift, keeps=keeps)
        blocks = _GroupBlocks(table, group, borders)
        merge = Merge(
            table.first_ts, table.last_ts, load=blocks.load, cost_of=blocks.cost_of, bytes_max=bytes_max // 2
        )
        for run in merge.runs():
            for part, part_size in parts_of(run, current.tail_size):
                spliced = current.splice(part.bodies, part.seqs, part.own)
                if not spliced:
                    continue
                retimer = current
                pieces += spliced
                size += part_size
                if size >= CHUNK_BYTES:
                    # What ends an event is another thing if it is the last one, so it waits for the next.
                    end = pieces.pop()
                    yield from chunks_of(pieces)
                    pieces, size = [end], 0
            # Not to be kept alive while the next block is decoded.
            del run, part
    if retimer is not None:
        retimer.close(pieces)
        yield from chunks_of(pieces)
    elif form.empty:
        yield form.empty


class _Borders:
    """Blocks where groups meet, taken apart: the next groups of a recording most likely need them again."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: OrderedDict[tuple[int, int], tuple[Events, int]] = OrderedDict()
        self._held_bytes = 0

    def load(self, recording: int, first_seq: int, cost: int, make: Callable[[], Events]) -> Events:
        """Return the events of a block, which its recording and first number name."""
        key = recording, first_seq
        if (found := self._held.get(key)) is not None:
            self._held.move_to_end(key)
            return found[0]
        while self._held and self._held_bytes + cost > self._bytes_max:
            self._held_bytes -= self._held.popitem(last=False)[1][1]
        events = make()
        if cost <= self._bytes_max:
            self._held[key] = events, cost
            self._held_bytes += cost
        return events


class _GroupBlocks:
    """The events of a group's blocks, less those before its first event and after its last one."""

    def __init__(self, table: PlaybackTable, group: Group, borders: _Borders) -> None:
        self._table = table
        self._group = group
        self._borders = borders
        self.cost_of = Blocks(table).cost_of

    def load(self, block: int, *, timed: bool) -> Events:
        """Return the events of a block that are the group's, as ``Blocks.load`` does."""
        first, last = self._group.first, self._group.last
        source, header = self._table.block(block)

        def take(*, timed: bool) -> Events:
            try:
                return take_apart(source.events(header), header, timed=timed)
            except ValueError as error:
                text = f"{error}, in the block"
                raise CorruptSegment(text, path=source.path, offset=header.offset) from error

        if first[0] < header.first_ts and header.last_ts < last[0]:
            return take(timed=timed)
        events = self._borders.load(
            self._group.recording, header.first_seq, self.cost_of(block), lambda: take(timed=True)
        )
        start, limit = _place(events, first), _place(events, (last[0], last[1] + 1))
        return events.slice(start, limit)


def _place(events: Events, key: Key) -> int:
    """Return how many of a block's events, which are in order, come before a key."""
    start, limit = bisect_left(events.times, key[0]), bisect_right(events.times, key[0])
    return bisect_left(events.seqs, key[1], start, limit)
