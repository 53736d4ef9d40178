"""What becomes one object: plain functions.

An object is a run of consecutive sealed segments of one recording. Which ones is decided once and kept in the
index (a *planned* object) before anything is put, so that whatever a crash interrupts is made again under
the same key, and never overlaps what is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rrd.config import MIB
from rrd.index.rows import ObjectRow, RecordingRow, SegmentRow
from rrd.shelf.holdings import Holdings

OBJECT_BYTES_MAX = 512 * MIB
"""Bytes of segments that one object is made of, at most, unless a single segment has more. It bounds
what an interrupted upload must send again, and what lies in ``rolling/``."""


class Run(NamedTuple):
    """What one object is made of."""

    first_number: int
    last_number: int
    segments: tuple[SegmentRow, ...]
    """Its sealed segments that the index knows, in order: all, unless something is badly wrong."""
    is_planned: bool
    """The index holds the plan already."""

    @property
    def size(self) -> int:
        """Bytes of its segments."""
        return sum(segment.size for segment in self.segments)

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of segments that should be there and aren't: only ever of a planned run."""
        there = {segment.number for segment in self.segments}
        return tuple(
            number for number in range(self.first_number, self.last_number + 1) if number not in there
        )


def runs(row: RecordingRow, *, bytes_max: int = OBJECT_BYTES_MAX) -> list[Run]:
    """Return what is to become objects now, in the order of segment numbers.

    A planned object keeps its run. Other sealed segments are gathered into runs without gaps of up to
    ``bytes_max``; a gap is a segment that is active, or in another object, or whose first write failed
    (its number was passed over). Active segments are never touched.
    """
    sealed = [segment for segment in row.segments if segment.state == "sealed"]
    found = [_planned(planned, sealed) for planned in Holdings.of(row).planned]
    taken = [range(each.first_number, each.last_number + 1) for each in row.objects]
    free = [segment for segment in sealed if not any(segment.number in numbers for numbers in taken)]
    return sorted([*found, *_gathered(free, bytes_max)])


def _planned(planned: ObjectRow, sealed: Sequence[SegmentRow]) -> Run:
    first, last = planned.first_number, planned.last_number
    segments = tuple(segment for segment in sealed if first <= segment.number <= last)
    return Run(first, last, segments, is_planned=True)


def _gathered(segments: Sequence[SegmentRow], bytes_max: int) -> list[Run]:
    found: list[list[SegmentRow]] = []
    size = 0
    for segment in segments:
        joins = found and found[-1][-1].number + 1 == segment.number and size + segment.size <= bytes_max
        if joins:
            found[-1].append(segment)
        else:
            found.append([segment])
            size = 0
        size += segment.size
    return [Run(run[0].number, run[-1].number, tuple(run), is_planned=False) for run in found]
