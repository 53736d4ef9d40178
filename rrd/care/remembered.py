"""What the replaced index knew of a recording and its files no longer show. Pure.

A rebuild that looked at files alone would take what is gone for what never was: a segment deleted, an object
that the store lost, the end of a file cut off. So the rows of these are kept. Nothing is kept of what a
tombstone covers; that is for the caller to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rrd.care.census import Entry
from rrd.care.survey import Surveyed
from rrd.index.rows import Kept, ObjectRow, RecordingRow, SegmentRow
from rrd.shelf.holdings import Holdings

_UNKNOWN_SIZE = 1
"""Stands for the durable size of a segment that is gone, where nothing tells it any more."""


class Shown(NamedTuple):
    """What the files and objects of one recording show now."""

    surveyed: Sequence[Surveyed]
    """Local segments that count by themselves, by number."""
    entries: Sequence[Entry]
    """Objects that count."""

    def has_object(self, first_number: int, last_number: int) -> bool:
        """Tell whether an object holds some of these segments."""
        return any(
            entry.first_number <= last_number and first_number <= entry.last_number for entry in self.entries
        )

    def end_of(self, number: int) -> int:
        """Return where the last intact block of a local segment ends; 0 if there is none."""
        for found in self.surveyed:
            if found.file.name.number == number and found.blocks:
                return found.blocks[-1].header.limit_offset
        return 0


def what_is_gone(
    row_id: int, key: tuple[str, str], created_ms: int, shown: Shown, old: RecordingRow | None
) -> Kept | None:
    """Return what must be kept; None if all that was known is there.

    ``old``: what the replaced index says. Where it can't be asked, what the files say of each other is all
    that is known. Metadata is for the caller to add.
    """
    segments = {row.number: row for row in _as_files_say(shown)}
    objects: list[ObjectRow] = []
    if old is not None:
        segments |= {row.number: row for row in _segments_gone(shown, old)}
        for entry in Holdings.of(old).published:
            if not _is_shown(shown, entry):
                numbers = range(entry.first_number, entry.last_number + 1)
                here = [number for number in numbers if shown.end_of(number)]
                if not here:
                    objects.append(entry)
                    for number in numbers:
                        segments.pop(number, None)
                    continue
                for number in numbers:
                    if number not in here:
                        segments.setdefault(number, SegmentRow(number, "sealed", _UNKNOWN_SIZE, None, None))
    if not segments and not objects:
        return None
    kept = Kept(
        row_id, *key, created_ms, tuple(segments[number] for number in sorted(segments)), tuple(objects)
    )
    return kept if old is None else kept._replace(visible=old.visible, extent=old.extent)


def _as_files_say(shown: Shown) -> list[SegmentRow]:
    """Return segments that others prove to be gone, or to have been longer."""
    gone: list[SegmentRow] = []
    for found in shown.surveyed:
        before, number = found.before, found.file.name.number
        if before is not None and not shown.has_object(before.number, before.number):
            gone.append(before)
        if found.durable_size > shown.end_of(number) and not shown.has_object(number, number):
            gone.append(SegmentRow(number, "sealed", found.durable_size, None, None))
    return gone


def _segments_gone(shown: Shown, old: RecordingRow) -> list[SegmentRow]:
    return [
        segment
        for segment in Holdings.of(old).own()
        if segment.size > shown.end_of(segment.number)
        and not shown.has_object(segment.number, segment.number)
    ]


def _is_shown(shown: Shown, entry: ObjectRow) -> bool:
    """Tell whether the events of an object are there: in an object, or in segments, one after the other."""
    if shown.has_object(entry.first_number, entry.last_number):
        return True
    seq = entry.first_seq
    for found in shown.surveyed:
        for block in found.blocks:
            if block.header.first_seq <= seq < block.header.limit_seq:
                seq = block.header.limit_seq
    return seq >= entry.first_seq + entry.event_count and (entry.event_count > 0 or bool(shown.surveyed))
