"""A file that several processes append lines to, in a bounded number of pieces. Blocking."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Sequence
from typing import IO

from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.disk.lock import FileLock


def append_line(paths: Sequence[str], line: bytes, *, bytes_max: int) -> None:
    """Append a line to the first of ``paths``; it is on disk when this returns.

    A piece that would grow beyond ``bytes_max`` moves to the next path, each of those to the one behind it,
    and the last one goes. What is made is private, and belongs to the directory's owner. A write that fails
    halfway leaves a part of a line; the next line begins behind it, on a line of its own. Raises ``OSError``.

    Root writes here, too, in a directory that another user owns. So no link is followed: what it leads to
    would be written, and given to that user.
    """
    while not _is_appended(paths, line, bytes_max):
        pass


def _is_appended(paths: Sequence[str], line: bytes, bytes_max: int) -> bool:
    """Append the line, or make room for it. Returns False where it has to be tried again."""
    path = paths[0]
    with files.append(path, follow=False) as file:
        try:
            lock = FileLock(path, wait=True)
        except FileNotFoundError:
            return False  # Another process has moved it just now.
        with lock:
            if not (lock.is_of_handle(file.fileno()) and lock.is_of(path)):
                return False  # Another process has moved it, while this one waited.
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise OSError(f"{path}: not a file with this name alone")
            if not status.st_size or status.st_size + len(line) <= bytes_max:
                _append(file, line, os.path.dirname(path) or ".", is_new=not status.st_size)
                return True
            for source, target in reversed(list(itertools.pairwise(paths))):
                if os.path.lexists(source):
                    files.rename(source, target)
            return False


def _append(file: IO[bytes], line: bytes, directory: str, *, is_new: bool) -> None:
    disk = OsDisk()
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
