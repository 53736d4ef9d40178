"""What there is of a recording in the data directory beside the index, and taking it away. Blocking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rrd import layout
from rrd.care.entries import names_in
from rrd.segment.disk import Disk

# Views of the files that are kept aside or left over, with everybody's metadata in clear. Not the note
# `index.sqlite.rebuilding`, which holds nothing and is needed.
_OLD_INDEXES = ("index.sqlite.damaged-", "index.sqlite.new")


def remove_files(disk: Disk, data_dir: str, tenant: str, recording: str, *, thorough: bool) -> int:
    """Remove a recording's segments, copies of torn tails and unfinished objects; return how many files.

    They are gone for good when this returns: directories are synced, also those in which nothing was found,
    since a crash may have come between removing and syncing. ``thorough``: copies of the index that were set
    aside go as well, whoever is in them. Raises ``OSError``.
    """
    count = 0
    for directory, names in _found(disk, data_dir, tenant, recording, thorough):
        for name in names:
            # Eviction or roll-up may have been quicker. A directory of such a name is no file of ours.
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                disk.unlink(f"{directory}/{name}")
                count += 1
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            disk.sync_dir(directory)
    return count


def _found(
    disk: Disk, data_dir: str, tenant: str, recording: str, thorough: bool
) -> Iterator[tuple[str, list[str]]]:
    """Yield each directory that may hold something of a recording, and what it holds.

    Listed, not guessed from the index: a segment whose first write failed is in none.
    """
    first = layout.SegmentName(tenant, recording, 1)
    names = names_in(disk, layout.active_dir(data_dir))
    yield layout.active_dir(data_dir), [name for name in names if _is_of(layout.parse_active(name), first)]
    directory = layout.sealed_dir(data_dir, first)
    names = names_in(disk, directory)
    yield directory, [name for name in names if _is_of(layout.parse_sealed(tenant, name), first)]
    # Neither tenants nor ids have dots in them.
    beginning = f"{tenant}.{recording}."
    for directory in (layout.torn_dir(data_dir), layout.rolling_dir(data_dir)):
        yield directory, [name for name in names_in(disk, directory) if name.startswith(beginning)]
    if thorough:
        yield data_dir, [name for name in disk.list_dir(data_dir) if name.startswith(_OLD_INDEXES)]


def _is_of(name: layout.SegmentName | None, first: layout.SegmentName) -> bool:
    return name is not None and name[:2] == first[:2]
