"""What an index says about files: which a recording has, and where they lie in a backup."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from rrd import layout
from rrd.backup.manifest import DATA
from rrd.disk.disk import OsDisk
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf

_PAGE = 500


BACKUP = Shelf(OsDisk(), DATA)
"""Where files lie in a backup, by paths below its directory."""


def paths_of(row: RecordingRow) -> Iterator[str]:
    """Yield every path that a recording's files may have in the backup."""
    holdings = Holdings.of(row)
    for segment in row.segments:
        name = holdings.name(segment.number)
        yield from (BACKUP.active(name), BACKUP.sealed(name))
    yield from map(object_path, map(holdings.key, holdings.published))


def object_path(key: str) -> str:
    """Return where an object lies in the backup."""
    return f"{layout.objects_dir(DATA)}/{key}"


async def all_rows(index: Index) -> AsyncIterator[RecordingRow]:
    after = 0
    while page := await index.oldest(tenant=None, after_row_id=after, limit=_PAGE):
        for known in page:
            row = await index.recording(known.tenant, known.recording_id)
            if row is not None:
                yield row
        after = page[-1].row_id
