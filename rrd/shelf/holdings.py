"""What there is of one recording, in order: published objects with local copies, and segments in none. Pure.

A segment of a recording goes through these states (``index.rows``)::

    active ─▶ sealed ─▶ sealed, and in a planned object ─▶ rolled: a local copy of a published object ─▶ gone

So each segment that the index knows is in one ``Holding``: that of the published object which covers its
number, or one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rrd import layout
from rrd.index.rows import ObjectRow, RecordingRow, SegmentRow
from rrd.layout import SegmentName


class Holding(NamedTuple):
    """A published object and its local copies, or else one segment."""

    first_number: int
    last_number: int
    segments: tuple[SegmentRow, ...]
    """Those of which there is a local file, by number. Of an object they are copies, and may be missing."""
    object: ObjectRow | None

    @property
    def is_local(self) -> bool:
        """All of it is in local files, as far as the index knows."""
        return len(self.segments) == self.last_number - self.first_number + 1


class Holdings(NamedTuple):
    """A snapshot of one recording: its segments up to their durable sizes, and its objects."""

    tenant: str
    recording_id: str
    segments: tuple[SegmentRow, ...]
    """By number."""
    objects: tuple[ObjectRow, ...] = ()
    """By ``first_number``. None overlaps another."""
    created_ms: int = 0
    """When the recording began."""

    @classmethod
    def of(cls, row: RecordingRow) -> Holdings:
        """Return what the index says."""
        return cls(row.tenant, row.recording_id, row.segments, row.objects, row.created_ms)

    @property
    def published(self) -> list[ObjectRow]:
        """Objects that the store has."""
        return [entry for entry in self.objects if entry.state == "published"]

    @property
    def planned(self) -> list[ObjectRow]:
        """Objects that are promised: their segments count by themselves."""
        return [entry for entry in self.objects if entry.state == "planned"]

    @property
    def is_local(self) -> bool:
        """Nothing but local files is needed to read all of it, as far as the index knows."""
        return all(holding.is_local for holding in self.in_order())

    def in_order(self) -> Iterator[Holding]:
        """Yield all that there is in the order of segment numbers, which is that of events."""
        at = 0
        for entry in self.published:
            while at < len(self.segments) and self.segments[at].number < entry.first_number:
                yield _alone(self.segments[at])
                at += 1
            start = at
            while at < len(self.segments) and self.segments[at].number <= entry.last_number:
                at += 1
            yield Holding(entry.first_number, entry.last_number, self.segments[start:at], entry)
        for segment in self.segments[at:]:
            yield _alone(segment)

    def own(self) -> list[SegmentRow]:
        """Return the segments that no published object holds: nothing else has their events."""
        alone = (holding for holding in self.in_order() if holding.object is None)
        return [segment for holding in alone for segment in holding.segments]

    def covering(self, number: int) -> ObjectRow | None:
        """Return the published object that holds a segment; None if none does."""
        for entry in self.published:
            if entry.first_number <= number <= entry.last_number:
                return entry
        return None

    def copies(self, entry: ObjectRow) -> list[SegmentRow]:
        """Return the segments of an object that are still local."""
        return [row for row in self.segments if entry.first_number <= row.number <= entry.last_number]

    def is_all_here(self, entry: ObjectRow) -> bool:
        """Tell whether all segments of an object are still local."""
        return len(self.copies(entry)) == entry.last_number - entry.first_number + 1

    def name(self, number: int) -> SegmentName:
        """Return the name of a segment."""
        return SegmentName(self.tenant, self.recording_id, number)

    def key(self, entry: ObjectRow) -> str:
        """Return the key of a published object in the store."""
        return layout.object_key(
            self.name(entry.first_number),
            created_ms=self.created_ms,
            first_seq=entry.first_seq,
            event_count=entry.event_count,
        )


def _alone(segment: SegmentRow) -> Holding:
    return Holding(segment.number, segment.number, (segment,), None)
