"""Files that are made, moved and removed where no power cut has to be survived. Blocking.

Nothing here is synced: what must be on disk goes through a ``Disk``. Whatever is made is private (0600 and
0700), since recordings show what visitors did. Every function raises ``OSError`` on failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import IO


def create(path: str) -> IO[bytes]:
    """Open a new file to write to. Raises ``FileExistsError`` if there is one."""
    return open(path, "xb", opener=_private)


def append(path: str, *, follow: bool = True) -> IO[bytes]:
    """Open a file to read, and to append to; made if it isn't there. ``follow``: also where a link leads."""
    return open(path, "a+b", opener=_private if follow else _private_here)


def overwrite(path: str, *, follow: bool = True) -> IO[bytes]:
    """Open a file to write to, made or emptied. ``follow``: also where a link leads."""
    return open(path, "wb", opener=_private if follow else _private_here)


def replace(path: str, data: bytes) -> None:
    """Write a small file whole: a reader sees the old bytes or the new ones, and a failure leaves the old."""
    fresh = f"{path}.new"
    try:
        with overwrite(fresh, follow=False) as file:
            file.write(data)
        os.replace(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


def rename(source: str, target: str) -> None:
    """Move a file within the file system, over what was there."""
    os.replace(source, target)


def remove(*paths: str) -> None:
    """Remove those of the files that are there."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def copy(source: str, target: str) -> None:
    """Copy a file's bytes into ``target``, made or emptied."""
    overwrite(target, follow=False).close()  # So that it is private from the start.
    shutil.copyfile(source, target)


def link(source: str, target: str) -> None:
    """Give a file a second name. Raises ``FileExistsError``; where there are no links, see link(2)."""
    os.link(source, target)


def open_handle(path: str, *, follow: bool = True) -> int:
    """Return a handle to read a file with, which the caller closes. ``follow``: also where a link leads."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))


def read_at(handle: int, offset: int, size: int) -> bytes:
    """Read ``size`` bytes from ``offset`` on; fewer only where the file ends."""
    parts = []
    while size > 0 and (part := os.pread(handle, size, offset)):
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return b"".join(parts)


def give_to_owner(handle: int, directory: str) -> None:
    """Give an open file that root has just made to the owner of its directory; does nothing for others.

    A command that was run by sudo must not lock the daemon out.
    """
    if os.geteuid() == 0:
        owner = os.stat(directory)
        os.fchown(handle, owner.st_uid, owner.st_gid)


def make_private(path: str) -> None:
    """Let a file's owner alone read and write it."""
    os.chmod(path, 0o600)


def make_shared(path: str) -> None:
    """Let a file's owner and group read and write it."""
    os.chmod(path, 0o660)


def make_dir(path: str) -> None:
    """Make a directory. Raises ``FileExistsError``."""
    os.mkdir(path, mode=0o700)


def make_dirs(path: str) -> None:
    """Make a directory and its parents, unless they are there."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def remove_empty_dirs(path: str, *, below: str) -> None:
    """Remove a directory, and those above it up to ``below``, until one is not empty or can't be removed."""
    with contextlib.suppress(OSError):
        while path != below:
            os.rmdir(path)
            path = os.path.dirname(path)


def remove_tree(path: str) -> None:
    """Remove a directory and all that is in it."""
    shutil.rmtree(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _private_here(path: str, flags: int) -> int:
    return _private(path, flags | os.O_NOFOLLOW)
