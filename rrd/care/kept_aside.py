"""Quarantined lines, read from the block that keeps them: in a local segment, or in an object."""

from __future__ import annotations

from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment
from rrd.index.rows import QuarantineRow
from rrd.layout import SegmentName
from rrd.segment.format import BlockHeader, QuarantineNote
from rrd.segment.reader import read_notes
from rrd.segment.scan import scan
from rrd.segment.table import read_table
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf


def notes_of(row: QuarantineRow, *, shelf: Shelf, objects: Readable, created_ms: int) -> list[QuarantineNote]:
    """Return the lines that one block holds, with where they stood and why they are kept aside. Blocking.

    ``created_ms``: when the recording began. Raises ``CorruptSegment`` if the block is not what was stored,
    ``StoreAway``, ``ObjectMissing``, ``OSError``.
    """
    if row.object is not None:
        key = Holdings(row.tenant, row.recording_id, (), (row.object,), created_ms).key(row.object)
        headers = read_table(objects, key, row.object.size)[1]
        return read_notes(objects, key, _at(headers, row.block_offset, key))[1]

    def read(path: str) -> list[QuarantineNote]:
        headers = scan(shelf.disk, path, start=row.block_offset).blocks
        return read_notes(shelf.disk, path, _at(headers, row.block_offset, path))[1]

    # The disk is asked, not the row: the daemon may have sealed it since.
    return shelf.at(SegmentName(row.tenant, row.recording_id, row.segment), read)


def _at(headers: list[BlockHeader], offset: int, path: str) -> BlockHeader:
    for header in headers:
        if header.offset == offset:
            return header
    raise CorruptSegment("there should be a block", path=path, offset=offset)
