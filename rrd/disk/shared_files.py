"""Files and directories of the operator's, which others may read: settings, and the home of a service.
Blocking.

They are few, and a power cut must not empty one: each is synced. Every function raises ``OSError`` on
failure.
"""

from __future__ import annotations

import contextlib
import os

_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755


def replace_shared(path: str, data: bytes) -> None:
    """Write a file whole: a reader sees the old bytes or the new ones, and a failure leaves the old.

    It keeps its owner and mode. A new one is its maker's, and all may read it. Where ``path`` is a link, the
    file that it leads to is written.
    """
    path = os.path.realpath(path)
    fresh = f"{path}.new"
    try:
        old = os.stat(path) if os.path.exists(path) else None
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as file:
            file.write(data)
            if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(handle, old.st_uid, old.st_gid)
            os.fchmod(handle, _FILE_MODE if old is None else old.st_mode & 0o7777)
            file.flush()
            os.fsync(handle)
        os.replace(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    _sync(os.path.dirname(path))


def make_shared_dirs(path: str) -> None:
    """Make a directory and its parents, unless they are there; all may read what is made."""
    if not os.path.isdir(path):
        make_shared_dirs(os.path.dirname(os.path.abspath(path)))
        os.mkdir(path)
        os.chmod(path, _DIRECTORY_MODE)  # Whatever the umask.


def make_dir_of(path: str, uid: int, gid: int) -> None:
    """Make a directory that its owner alone may use, and its parents, which all may read."""
    make_shared_dirs(os.path.dirname(os.path.abspath(path)))
    os.mkdir(path, mode=0o700)
    if (uid, gid) != (os.geteuid(), os.getegid()):
        os.chown(path, uid, gid, follow_symlinks=False)


def give_dir(path: str, uid: int, gid: int) -> None:
    """Give a directory, and not what is in it, to another owner."""
    os.chown(path, uid, gid, follow_symlinks=False)


def _sync(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
