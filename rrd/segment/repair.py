"""Cutting off torn tails, after copies of them are safe.

Only a scan's verdict *torn* is acted on. Damage of any other kind is left exactly as it is:
what looks like junk may be the only trace of somebody's events.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c

from rrd.disk.disk import Disk
from rrd.segment.scan import Scan

_COPY_BYTES = 1 << 20


class Torn(NamedTuple):
    """A segment with a torn tail."""

    path: str
    found: Scan


def cut_torn_tails(disk: Disk, segments: Sequence[Torn], *, torn_dir: str) -> list[str | None]:
    """Copy the torn tails of segments into ``torn_dir``, then truncate the segments to their good sizes.

    A file without a whole identity was never acked anything and is moved there whole.
    Returns the path of each copy, or None if there was nothing to copy. On disk when this returns: that
    takes two syncs, of the file system, however many segments there are, since a power cut may have torn
    as many as were written to. Safe to do again after a crash at any point. Raises ``OSError``.
    """
    if not segments:
        return []
    assert all(segment.found.verdict == "torn" for segment in segments)
    copies = [_copy(disk, segment, torn_dir) for segment in segments]
    if any(copies):
        disk.sync_all(torn_dir)
    for path, found in segments:
        if found.identity is None:
            disk.unlink(path)
        else:
            disk.truncate(path, found.good_size, sync=False)
    disk.sync_all(os.path.dirname(segments[0].path))
    return copies


def _copy(disk: Disk, segment: Torn, torn_dir: str) -> str | None:
    path, found = segment
    if found.file_size == found.good_size:
        return None
    disk.make_dirs(torn_dir)
    # Named by its content too: a tail torn again at the same offset must not replace the copy of the
    # first, and doing this again after a crash must not make a second one.
    crc = _crc(disk, path, found.good_size)
    copy = f"{torn_dir}/{os.path.basename(path)}.{found.good_size}.{crc:08x}.torn"
    disk.copy(path, copy, offset=found.good_size, sync=False)
    return copy


def _crc(disk: Disk, path: str, offset: int) -> int:
    crc = 0
    while part := disk.read(path, offset, _COPY_BYTES):
        crc = google_crc32c.extend(crc, part)
        offset += len(part)
    return crc
