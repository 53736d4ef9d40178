"""Cutting off a torn tail, after a copy of it is safe.

Only a scan's verdict *torn* is acted on. Damage of any other kind is left exactly as it is:
what looks like junk may be the only trace of somebody's events.
"""

from __future__ import annotations

import os

from rrd.segment.disk import Disk
from rrd.segment.scan import Scan


def cut_torn_tail(disk: Disk, path: str, found: Scan, *, torn_dir: str) -> str | None:
    """Copy the torn tail of a segment into ``torn_dir``, then truncate the segment to its good size.

    A file without a whole identity was never acked anything and is moved there whole.
    Returns the path of the copy, or None if there was nothing to copy. Safe to
    do again after a crash at any point. Raises ``OSError``.
    """
    assert found.verdict == "torn"
    copy: str | None = None
    if found.file_size > found.good_size:
        disk.make_dirs(torn_dir)
        copy = f"{torn_dir}/{os.path.basename(path)}.{found.good_size}.torn"
        disk.copy(path, copy, offset=found.good_size)
    if found.identity is None:
        disk.unlink(path)
        disk.sync_dir(os.path.dirname(path))
    else:
        disk.truncate(path, found.good_size)
    return copy
