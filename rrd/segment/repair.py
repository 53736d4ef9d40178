"""Cutting off a torn tail, after a copy of it is safe.

Only a scan's verdict *torn* is acted on. Damage of any other kind is left exactly as it is:
what looks like junk may be the only trace of somebody's events.
"""

from __future__ import annotations

import os

import google_crc32c

from rrd.segment.disk import Disk
from rrd.segment.scan import Scan

_COPY_BYTES = 1 << 20


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
        # Named by its content too: a tail torn again at the same offset must not replace the copy of the
        # first, and doing this again after a crash must not make a second one.
        crc = _crc(disk, path, found.good_size)
        copy = f"{torn_dir}/{os.path.basename(path)}.{found.good_size}.{crc:08x}.torn"
        disk.copy(path, copy, offset=found.good_size)
    if found.identity is None:
        disk.unlink(path)
        disk.sync_dir(os.path.dirname(path))
    else:
        disk.truncate(path, found.good_size)
    return copy


def _crc(disk: Disk, path: str, offset: int) -> int:
    crc = 0
    while part := disk.read(path, offset, _COPY_BYTES):
        crc = google_crc32c.extend(crc, part)
        offset += len(part)
    return crc
