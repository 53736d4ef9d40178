"""Blocks merged by (timestamp, arrival) in bounded memory. Pure: blocks come from a function.

Arrival is not order: a large event is POSTed beside the socket, buffered events come minutes
late, two tabs write at once, a page's own clock is wrong. But nearly all blocks lie apart in time, and
such a block goes through whole. Where blocks overlap, each gets a cursor, decoded when the merge reaches
its first timestamp, and the cursor that is behind gives all its events up to the next cursor's at once.

Blocks are numbered by arrival and their events' numbers don't mix, so (timestamp, block) orders events
of different blocks just as (timestamp, sequenceId) does.

Memory. Cursors hold their events within a budget. When it runs out, those that will be needed last are
dropped, wherever they are, and decoded again when their turn comes. So a few hundred overlapping
blocks cost nothing extra; one stray timestamp in each of 10,000 blocks costs a second decode of each; only
events spread at random over gigabytes of blocks are slow, and they still take no more memory.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Protocol

from rrd.playback.bodies import Events

EVENT_OVERHEAD = 64
"""What an event takes in memory beside its bytes: object header, pointer, timestamp, number."""

_Key = tuple[float, int]
"""Timestamp and block."""

_NOTHING = Events([], (), None, ())


class Load(Protocol):
    def __call__(self, block: int, *, timed: bool) -> Events:
        """Return the wanted events of a block in playback order; with ``timed``, their timestamps too.

        The same each time.
        """
        ...


class Merge:
    """One pass over the events of many blocks.

    ``first_ts`` and ``last_ts``: bounds of each block's timestamps, ms; the closer they are, the less is
    held. ``cost_of``: how many bytes a block takes when its events are held, ``EVENT_OVERHEAD`` an event
    included. ``held_bytes`` is never more than ``bytes_max``, or one block's cost if that is more.
    """

    def __init__(
        self,
        first_ts: Sequence[float],
        last_ts: Sequence[float],
        *,
        load: Load,
        cost_of: Callable[[int], int],
        bytes_max: int,
    ) -> None:
        self._first_ts = first_ts
        self._last_ts = last_ts
        self._load = load
        self._cost_of = cost_of
        self._bytes_max = bytes_max
        self._heap: list[tuple[float, int, _Cursor]] = []
        self.held_bytes = 0
        """Bytes of the events held now, the run handed out last among them."""

    def runs(self) -> Iterator[Events]:
        """Yield all events in order, as many at a time as can be. To be called once."""
        first_ts, heap = self._first_ts, self._heap
        # Sorting what is sorted already, as it nearly always is, takes one pass.
        waiting = iter(sorted(range(len(first_ts)), key=first_ts.__getitem__))
        upcoming = next(waiting, None)
        while heap or upcoming is not None:
            if upcoming is not None and (not heap or (first_ts[upcoming], upcoming) < heap[0][:2]):
                block, upcoming = upcoming, next(waiting, None)
                limit = self._limit(upcoming)
                if (self._last_ts[block], block) < limit:
                    yield from self._whole(block)
                    continue
                cursor = _Cursor(block, first_ts[block])
            else:
                cursor = heapq.heappop(heap)[2]
                limit = self._limit(upcoming)
            if cursor.held_count == 0:
                self._make_room(self._cost_of(cursor.block))
                self.held_bytes += cursor.fill(self._load(cursor.block, timed=True))
            # Its first event may be later than the bound said, and there may be none.
            if not cursor.is_done and (cursor.next_ts, cursor.block) < limit:
                yield cursor.take(limit)
                if cursor.held_count == 0:
                    self.held_bytes -= cursor.keep(0)
            if not cursor.is_done:
                heapq.heappush(heap, (cursor.next_ts, cursor.block, cursor))

    def _limit(self, upcoming: int | None) -> _Key:
        """Return the least key of the cursors on the heap and the blocks not begun."""
        limit = (inf, 0) if upcoming is None else (self._first_ts[upcoming], upcoming)
        return min(limit, self._heap[0][:2]) if self._heap else limit

    def _whole(self, block: int) -> Iterator[Events]:
        cost = self._cost_of(block)
        self._make_room(cost)
        self.held_bytes += cost
        yield self._load(block, timed=False)
        self.held_bytes -= cost

    def _make_room(self, cost: int) -> None:
        """Drop the events that are needed last until ``cost`` more bytes fit, or nothing is held."""
        if self.held_bytes + cost <= self._bytes_max:
            return
        # A quarter more than needed, so that looking at all cursors pays for many loads.
        target = max(0, self._bytes_max * 3 // 4 - cost)
        holders = [(-cursor.last_ts, -block, cursor) for _, block, cursor in self._heap if cursor.held_count]
        heapq.heapify(holders)
        while self.held_bytes > target and holders:
            _, block, cursor = heapq.heappop(holders)
            self.held_bytes -= cursor.keep(cursor.held_count // 2)
            if cursor.held_count:
                heapq.heappush(holders, (-cursor.last_ts, block, cursor))


class _Cursor:
    """One block that others overlap: how far it was read, and which of its next events are held."""

    __slots__ = ("_at", "_bytes", "_dropped_ts", "_held", "_position", "_total", "block")

    def __init__(self, block: int, first_ts: float) -> None:
        self.block = block
        self._position = 0
        self._total = 1  # Not known before ``fill``.
        self._held = _NOTHING
        self._at = 0
        self._bytes = 0
        self._dropped_ts = first_ts  # Of the first event after those held.

    @property
    def is_done(self) -> bool:
        return self._position == self._total

    @property
    def held_count(self) -> int:
        """Events held and not taken yet."""
        return len(self._held.bodies) - self._at

    @property
    def next_ts(self) -> float:
        """Timestamp of the next event, held or not."""
        return self._held.times[self._at] if self.held_count else self._dropped_ts

    @property
    def last_ts(self) -> float:
        """Timestamp of the last event held."""
        return self._held.times[-1]

    def fill(self, events: Events) -> int:
        """Hold what was not taken yet of ``events``, all that ``load`` gives; return its bytes."""
        self._total = len(events.bodies)
        self._hold(events.slice(self._position, self._total) if self._position else events)
        return self._bytes

    def take(self, limit: _Key) -> Events:
        """Take the held events below ``limit``. There is at least one."""
        bisect = bisect_right if self.block < limit[1] else bisect_left
        start, end = self._at, bisect(self._held.times, limit[0], self._at)
        assert end > start, "the cursor that is behind has nothing to give"
        self._at = end
        self._position += end - start
        return self._held.slice(start, end)

    def keep(self, count: int) -> int:
        """Hold only the next ``count`` events; return the bytes that this frees."""
        limit = self._at + count
        before = self._bytes
        if limit < len(self._held.bodies):
            self._dropped_ts = self._held.times[limit]
        self._hold(self._held.slice(self._at, limit) if count else _NOTHING)
        return before - self._bytes

    def _hold(self, events: Events) -> None:
        self._held = events
        self._at = 0
        self._bytes = sum(map(len, events.bodies)) + EVENT_OVERHEAD * len(events.bodies)
