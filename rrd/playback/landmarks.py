"""Where a replay may begin in the middle of a recording: the page's last FullSnapshot, and its Meta event.

Headers say which blocks hold one (FORMAT.md), so that only a few are decoded. Blocks of before headers said
so are looked into, the newest first.

The rule looks at events alone, so that segments and objects, which no longer tell several senders apart, give
the same answer:

- The snapshot is the last one in playback order at or before a time, else the first one after it.
- Its Meta event is the last one before it in playback order. If another snapshot lies between, it counts only
  if it is no more than ``TOGETHER_MS`` older: a page load takes a moment, and two tabs may load at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rrd.errors import CorruptSegment
from rrd.playback.table import PlaybackTable
from rrd.segment.format import FLAG_META, FLAG_SNAPSHOT, FLAG_TYPES_KNOWN
from rrd.segment.lines import META_TYPE, SNAPSHOT_TYPE, look_at_lines

TOGETHER_MS = 10_000
"""A page that takes longer from its Meta event to its snapshot is rare, and so are two that load at once."""


class Landmark(NamedTuple):
    """A FullSnapshot or a Meta event. Landmarks compare in playback order."""

    timestamp: float
    seq: int
    is_meta: bool


def find_start(table: PlaybackTable, at_ms: float) -> Landmark | None:
    """Return the event at which a replay from ``at_ms`` begins; None if there is no snapshot at all.

    ``table``: of all events that may count. Blocking. Decodes few blocks, one at a time: memory as for
    ``cost_of`` twice. Raises ``CorruptSegment``, ``OSError``, ``StoreAway``.
    """
    finder = _Finder(table)
    snapshot = finder.last_snapshot(at_ms) or finder.first_snapshot(at_ms)
    if snapshot is None:
        return None
    return finder.meta_of(snapshot) or snapshot


class _Finder:
    def __init__(self, table: PlaybackTable) -> None:
        self._table = table
        self._looked_at: tuple[int, list[Landmark]] | None = None
        """The block looked at last: it often has the Meta event, too."""

    def last_snapshot(self, at_ms: float) -> Landmark | None:
        """Return the last snapshot at or before a time."""
        first_ts, last_ts = self._table.first_ts, self._table.last_ts
        blocks = [block for block in self._blocks(FLAG_SNAPSHOT) if first_ts[block] <= at_ms]
        blocks.sort(key=lambda block: (min(last_ts[block], at_ms), block), reverse=True)
        best: Landmark | None = None
        for block in blocks:
            if best is not None and last_ts[block] < best.timestamp:
                break
            for mark in self._landmarks(block):
                if not mark.is_meta and mark.timestamp <= at_ms and (best is None or mark > best):
                    best = mark
        return best

    def first_snapshot(self, after_ms: float) -> Landmark | None:
        """Return the first snapshot after a time."""
        first_ts, last_ts = self._table.first_ts, self._table.last_ts
        blocks = [block for block in self._blocks(FLAG_SNAPSHOT) if last_ts[block] > after_ms]
        blocks.sort(key=lambda block: max(first_ts[block], after_ms))
        best: Landmark | None = None
        for block in blocks:
            if best is not None and first_ts[block] > best.timestamp:
                break
            for mark in self._landmarks(block):
                if not mark.is_meta and mark.timestamp > after_ms and (best is None or mark < best):
                    best = mark
        return best

    def meta_of(self, snapshot: Landmark) -> Landmark | None:
        """Return the Meta event that belongs to a snapshot."""
        first_ts, last_ts = self._table.first_ts, self._table.last_ts
        blocks = [
            block
            for block in self._blocks(FLAG_SNAPSHOT | FLAG_META)
            if first_ts[block] <= snapshot.timestamp
        ]
        blocks.sort(key=lambda block: (min(last_ts[block], snapshot.timestamp), block), reverse=True)
        before: list[Landmark] = []
        is_its_own = False
        is_decided = False
        for block in blocks:
            if is_decided and last_ts[block] < before[-1].timestamp:
                break
            before += [mark for mark in self._landmarks(block) if mark < snapshot]
            before.sort(reverse=True)
            decision = _decide(before, snapshot)
            is_decided = decision is not None
            if decision is not None:
                index, is_its_own = decision
                # What is older decides nothing any more.
                del before[index + 1 :]
        return before[-1] if is_its_own else None

    def _blocks(self, flags: int) -> Iterable[int]:
        """Return the blocks that may hold what one of the flags stands for."""
        looked_for = flags | FLAG_TYPES_KNOWN
        return [
            block for block, found in enumerate(self._table.flags) if found & looked_for != FLAG_TYPES_KNOWN
        ]

    def _landmarks(self, block: int) -> list[Landmark]:
        if self._looked_at is not None and self._looked_at[0] == block:
            return self._looked_at[1]
        source, header = self._table.block(block)
        try:
            found = look_at_lines(source.events(header))
        except ValueError as error:
            raise CorruptSegment(f"{error}, in the block", path=source.path, offset=header.offset) from error
        between = self._table.between
        marks = [
            Landmark(event.timestamp, seq, event.type == META_TYPE)
            for seq, event in enumerate(found, header.first_seq)
            if event.type in _TYPES and between.first_seq <= seq < between.limit_seq
        ]
        self._looked_at = block, marks
        return marks


_TYPES = (SNAPSHOT_TYPE, META_TYPE)


def _decide(before: list[Landmark], snapshot: Landmark) -> tuple[int, bool] | None:
    """Return which landmark says what a snapshot's Meta event is, and whether it is that event itself.

    ``before``: landmarks before the snapshot, the nearest first. None: what lies before them decides.
    """
    passed_another = False
    for index, mark in enumerate(before):
        is_near = snapshot.timestamp - mark.timestamp <= TOGETHER_MS
        if mark.is_meta:
            return index, is_near or not passed_another
        if not is_near:
            return index, False
        passed_another = True
    return None
