"""What there is of a recording in the data directory beside the index, and taking it away. Blocking."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from rrd import layout
from rrd.disk.disk import Disk, Readable
from rrd.index import home
from rrd.segment.salvage import identity_of, salvage
from rrd.shelf.shelf import Shelf
from rrd.tombstones import Tombstone


class Cleared(NamedTuple):
    """What ``remove_files`` did."""

    removed: int
    """Files that are gone for good."""
    kept: list[str]
    """Paths of files that have the recording's name, and whose removal the tombstone doesn't record."""


def remove_files(disk: Disk, data_dir: str, tombstone: Tombstone) -> Cleared:
    """Remove a recording's segments, copies of torn tails and unfinished objects.

    They are gone for good when this returns: directories are synced, also those in which nothing was found,
    since a crash may have come between removing and syncing. A segment that says that it is of another
    recording, or of another life of it than the tombstone is for, stays. For an erased recording copies of
    the index that were set aside go as well, whoever is in them. Raises ``OSError``.
    """
    done = Cleared(0, [])
    for directory, names in _found(disk, data_dir, tombstone):
        for name in names:
            path = f"{directory}/{name}"
            # Eviction or roll-up may have been quicker. A directory of such a name is no file of ours.
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                if directory != data_dir and not is_recorded(disk, path, tombstone):
                    done.kept.append(path)
                    continue
                disk.unlink(path)
                done = done._replace(removed=done.removed + 1)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            disk.sync_dir(directory)
    return done


def is_recorded(files: Readable, path: str, tombstone: Tombstone) -> bool:
    """Tell whether a tombstone records the removal of a file or object of that recording's name.

    What can't be read says nothing about itself. An erasure covers it by its name; the end of one life of a
    recording doesn't, unless no block in it is intact. Raises what ``files`` raises.
    """
    if layout.parse_torn(os.path.basename(path)) is not None:
        # A tail that was cut off, and never acked: it has no identity.
        return True
    identity = identity_of(files, path)
    if identity is None:
        return tombstone.reason == "erased" or not salvage(files, path).blocks
    is_of_it = (identity.tenant, identity.recording_id) == (tombstone.tenant, tombstone.recording_id)
    return is_of_it and tombstone.covers(identity.created_ms)


def _found(disk: Disk, data_dir: str, tombstone: Tombstone) -> Iterator[tuple[str, list[str]]]:
    """Yield each directory that may hold something of a recording, and what it holds.

    Listed, not guessed from the index: a segment whose first write failed is in none.
    """
    yield from Shelf(disk, data_dir).entries_of(tombstone.tenant, tombstone.recording_id)
    if tombstone.reason == "erased":
        yield data_dir, [name for name in disk.list_dir(data_dir) if home.is_old(name)]
