"""What a data directory says of one of its files: how much of it was acked, and which events it should hold.

For ``rrd inspect``: judged by itself, the damaged end of a sealed segment looks like an unfinished write.
"""

from __future__ import annotations

import itertools
import os

from rrd import layout
from rrd.disk.disk import Disk, OsDisk
from rrd.index.rows import RecordingRow
from rrd.layout import SegmentName
from rrd.segment.inspect import Known
from rrd.segment.salvage import identity_of
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf

_SOMETHING = 1
"""Durable size of a file of which no more is known than that it was whole, and not empty."""


def place_of(path: str) -> tuple[str, SegmentName] | None:
    """Return the data directory and the name of a segment file by its path; None if it lies elsewhere."""
    path = os.path.abspath(path)
    parents = list(itertools.accumulate(range(4), lambda above, _: os.path.dirname(above), initial=path))
    for data_dir in (parents[2], parents[4]):
        if (name := Shelf(OsDisk(), data_dir).place_of(path)) is not None:
            return data_dir, name
    return None


def of_object(path: str) -> Known:
    """Return what the name of an object says of it."""
    name = layout.parse_object_key("/".join(os.path.abspath(path).split("/")[-6:]))
    return Known(_SOMETHING, name.first_seq, name.limit_seq) if name is not None else Known()


def of_segment(disk: Disk, data_dir: str, name: SegmentName, row: RecordingRow | None) -> Known:
    """Return what is known of a segment. ``row``: what the index says of its recording. Blocking."""
    shelf = Shelf(disk, data_dir)
    path = shelf.sealed(name)
    size, told_by = 0, ""
    if disk.is_file(path):
        # No file is moved there before all of it is synced.
        size, told_by = max(disk.size(path), _SOMETHING), "its place in sealed/"
    following = name._replace(number=name.number + 1)
    limit_seq: int | None = None
    for place in (shelf.active(following), shelf.sealed(following)):
        identity = identity_of(disk, place) if disk.is_file(place) else None
        if identity is not None and identity.name == following:
            size, told_by = identity.previous_size, "the next segment"
            limit_seq = identity.first_seq
    if row is not None:
        numbers = [segment.number for segment in row.segments] + [entry.last_number for entry in row.objects]
        sizes = {segment.number: segment.size for segment in row.segments}
        if name.number in sizes:
            size, told_by = sizes[name.number], "the index"
            if name.number == max(numbers):
                limit_seq = row.next_seq
    return Known(size, _first_seq(shelf, name, row), limit_seq, told_by)


def _first_seq(shelf: Shelf, name: SegmentName, row: RecordingRow | None) -> int | None:
    """Return where the segment before ends, or the object."""
    if name.number == 1:
        return 1
    before = name._replace(number=name.number - 1)
    entry = Holdings.of(row).covering(before.number) if row is not None else None
    if entry is not None and entry.last_number == before.number:
        return entry.first_seq + entry.event_count
    try:
        blocks = shelf.at(before, lambda path: scan(shelf.disk, path).blocks, first="sealed")
    except (FileNotFoundError, IsADirectoryError):
        return None
    return blocks[-1].limit_seq if blocks else None
