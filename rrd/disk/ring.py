"""A file that several processes append lines to, in a bounded number of pieces. Blocking."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.disk.lock import FileLock


def append_line(paths: Sequence[str], line: bytes, *, bytes_max: int) -> None:
    """Append a line to the first of ``paths``; it is on disk when this returns.

    A piece that would grow beyond ``bytes_max`` moves to the next path, each of those to the one behind it,
    and the last one goes. What is made is private, and belongs to the directory's owner. A write that fails
    halfway leaves a part of a line; the next line begins behind it, on a line of its own. Raises ``OSError``.
    """
    path = paths[0]
    while True:
        with FileLock(path, wait=True, create=True) as lock:
            if not lock.is_of(path):
                continue  # Another process has moved it, while this one waited.
            size = os.path.getsize(path)
            if not size or size + len(line) <= bytes_max:
                _append(path, line, is_new=not size)
                return
            for source, target in reversed(list(itertools.pairwise(paths))):
                if os.path.exists(source):
                    files.rename(source, target)


def _append(path: str, line: bytes, *, is_new: bool) -> None:
    directory = os.path.dirname(path) or "."
    disk = OsDisk()
    with files.append(path) as file:
        if is_new:
            files.give_to_owner(file.fileno(), directory)
        else:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)
        file.flush()
        disk.sync(file.fileno())
    if is_new:
        disk.sync_dir(directory)
