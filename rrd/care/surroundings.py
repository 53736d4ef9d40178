"""What a data directory says of one of its files: how much of it was acked, and which events it should hold.

For ``rrd inspect``: judged by itself, the damaged end of a sealed segment looks like an unfinished write.
"""

from __future__ import annotations

import os

from rrd import layout
from rrd.disk.disk import Disk
from rrd.index.rows import RecordingRow
from rrd.layout import SegmentName
from rrd.segment.inspect import Known
from rrd.segment.salvage import identity_of
from rrd.segment.scan import scan

_SOMETHING = 1
"""Durable size of a file of which no more is known than that it was whole, and not empty."""


def place_of(path: str) -> tuple[str, SegmentName] | None:
    """Return the data directory and the name of a segment file by its path; None if it lies elsewhere."""
    path = os.path.abspath(path)
    directory, file_name = os.path.split(path)
    name = layout.parse_active(file_name)
    if name is not None and layout.active_path(os.path.dirname(directory), name) == path:
        return os.path.dirname(directory), name
    tenant = os.path.basename(os.path.dirname(directory))
    name = layout.parse_sealed(tenant, file_name)
    root = os.path.dirname(os.path.dirname(os.path.dirname(directory)))
    if name is not None and layout.sealed_path(root, name) == path:
        return root, name
    return None


def of_object(path: str) -> Known:
    """Return what the name of an object says of it."""
    name = layout.parse_object_key("/".join(os.path.abspath(path).split("/")[-6:]))
    return Known(_SOMETHING, name.first_seq, name.limit_seq) if name is not None else Known()


def of_segment(disk: Disk, data_dir: str, name: SegmentName, row: RecordingRow | None) -> Known:
    """Return what is known of a segment. ``row``: what the index says of its recording. Blocking."""
    path = layout.sealed_path(data_dir, name)
    size, told_by = 0, ""
    if disk.is_file(path):
        # No file is moved there before all of it is synced.
        size, told_by = max(disk.size(path), _SOMETHING), "its place in sealed/"
    following = name._replace(number=name.number + 1)
    limit_seq: int | None = None
    for place in (layout.active_path(data_dir, following), layout.sealed_path(data_dir, following)):
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
    return Known(size, _first_seq(disk, data_dir, name, row), limit_seq, told_by)


def _first_seq(disk: Disk, data_dir: str, name: SegmentName, row: RecordingRow | None) -> int | None:
    """Return where the segment before ends, or the object."""
    if name.number == 1:
        return 1
    before = name._replace(number=name.number - 1)
    for entry in row.objects if row is not None else ():
        if entry.state == "published" and entry.last_number == before.number:
            return entry.first_seq + entry.event_count
    for place in (layout.sealed_path(data_dir, before), layout.active_path(data_dir, before)):
        if disk.is_file(place):
            blocks = scan(disk, place).blocks
            return blocks[-1].limit_seq if blocks else None
    return None
