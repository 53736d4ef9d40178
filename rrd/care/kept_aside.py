"""Quarantined lines, read from the block that keeps them: in a local segment, or in an object."""

from __future__ import annotations

from rrd import layout
from rrd.disk.disk import Disk, Readable
from rrd.errors import CorruptSegment
from rrd.index.rows import QuarantineRow
from rrd.layout import SegmentName
from rrd.segment.format import BlockHeader, QuarantineNote
from rrd.segment.reader import read_notes
from rrd.segment.scan import scan
from rrd.segment.table import read_table


def notes_of(
    row: QuarantineRow, *, disk: Disk, data_dir: str, objects: Readable, created_ms: int
) -> list[QuarantineNote]:
    """Return the lines that one block holds, with where they stood and why they are kept aside. Blocking.

    ``created_ms``: when the recording began. Raises ``CorruptSegment`` if the block is not what was stored,
    ``StoreAway``, ``ObjectMissing``, ``OSError``.
    """
    files: Readable
    if row.object is not None:
        name = SegmentName(row.tenant, row.recording, row.object.first_number)
        files, path = (
            objects,
            layout.object_key(
                name,
                created_ms=created_ms,
                first_seq=row.object.first_seq,
                event_count=row.object.event_count,
            ),
        )
        headers = read_table(files, path, row.object.size)[1]
    else:
        files, path = disk, _segment_path(disk, data_dir, row)
        headers = scan(files, path, start=row.block_offset).blocks
    return read_notes(files, path, _at(headers, row.block_offset, path))[1]


def _segment_path(disk: Disk, data_dir: str, row: QuarantineRow) -> str:
    """Ask the disk, not the row: the daemon may have sealed it since."""
    name = SegmentName(row.tenant, row.recording, row.segment)
    active, sealed = layout.active_path(data_dir, name), layout.sealed_path(data_dir, name)
    try:
        disk.size(active)
    except FileNotFoundError:
        return sealed
    return active


def _at(headers: list[BlockHeader], offset: int, path: str) -> BlockHeader:
    for header in headers:
        if header.offset == offset:
            return header
    raise CorruptSegment("there should be a block", path=path, offset=offset)
