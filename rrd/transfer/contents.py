"""What an index says about files: which a recording has, and where they lie in a backup."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from rrd import layout
from rrd.index.index import Index
from rrd.index.rows import ObjectRow, RecordingRow, SegmentRow
from rrd.layout import SegmentName
from rrd.transfer.manifest import DATA

_PAGE = 500


class Piece(NamedTuple):
    """One segment of a recording."""

    row: SegmentRow
    name: SegmentName
    is_needed: bool
    """No published object stands for it."""


def pieces_of(row: RecordingRow) -> Iterator[Piece]:
    published = [found for found in row.objects if found.state == "published"]
    for segment in row.segments:
        is_held = any(found.first_number <= segment.number <= found.last_number for found in published)
        yield Piece(segment, SegmentName(row.tenant, row.recording, segment.number), not is_held)


def paths_of(row: RecordingRow) -> Iterator[str]:
    """Yield every path that a recording's files may have in the backup."""
    for piece in pieces_of(row):
        yield layout.active_path(DATA, piece.name)
        yield layout.sealed_path(DATA, piece.name)
    for found in row.objects:
        if found.state == "published":
            yield object_path(row, found)


def object_key(row: RecordingRow, found: ObjectRow) -> str:
    name = SegmentName(row.tenant, row.recording, found.first_number)
    return layout.object_key(
        name, created_ms=row.created_ms, first_seq=found.first_seq, event_count=found.event_count
    )


def object_path(row: RecordingRow, found: ObjectRow) -> str:
    return f"{layout.objects_dir(DATA)}/{object_key(row, found)}"


async def all_rows(index: Index) -> AsyncIterator[RecordingRow]:
    after = 0
    while page := await index.all_recordings(after_row_id=after, limit=_PAGE):
        for _, tenant, recording in page:
            row = await index.recording(tenant, recording)
            if row is not None:
                yield row
        after = page[-1][0]
