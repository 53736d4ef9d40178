"""The disk as segments and objects use it.

Everything that must survive a power cut goes through a ``Disk``, so that tests can replace it by
one that forgets what was not synced (``tests/power``).
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import time
from typing import Protocol

from rrd.disk.files import read_at

_libc = ctypes.CDLL(None, use_errno=True)

NOW_BYTES_MAX = 512 << 10
"""No more is to be read on the event loop at once: this takes 0.1 ms, its checksum half as much."""


_NO_HANDLE_PATIENCE_S = 2.0
_NO_HANDLE_PAUSE_S = 0.01


class Readable(Protocol):
    """Where bytes of segments and objects are read from: a disk's files, or an object store's objects.

    ``path`` is a file's path, or an object's key. Raises ``OSError`` on failure, or what the store raises.
    """

    def size(self, path: str) -> int: ...

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes from ``offset``; fewer only at the end."""
        ...


class ReadableNow(Readable, Protocol):
    """Where some bytes may be at hand."""

    def read_now(self, path: str, offset: int, size: int) -> bytes | None:
        """Return what ``read`` would, or None if it would have to wait, or fail. Only on the event loop.

        ``size``: up to ``NOW_BYTES_MAX``.
        """
        ...


class Disk(ReadableNow, Protocol):
    """What rrd asks of a file system. Every method raises ``OSError`` on failure."""

    def open_append(self, path: str, *, create: bool) -> int:
        """Open a file to append to and return its handle. With ``create`` it must not exist yet."""
        ...

    def write(self, handle: int, data: bytes) -> None:
        """Append all of ``data``. Given to the OS when this returns, not safe."""
        ...

    def sync(self, handle: int) -> None:
        """Return when the file's data and size are on disk (not its directory entry)."""
        ...

    def sync_dir(self, path: str) -> None:
        """Return when the entries of a directory are on disk."""
        ...

    def sync_all(self, path: str) -> None:
        """Return when all of the file system that holds ``path`` is on disk, entries included."""
        ...

    def close(self, handle: int) -> None: ...

    def truncate(self, path: str, size: int, *, sync: bool = True) -> None:
        """Cut a file to ``size`` bytes, and sync it.

        Without ``sync`` a power cut may bring back what was cut off, or part of it. ``sync_all`` must follow
        before anything is appended.
        """
        ...

    def cut(self, handle: int, size: int) -> None:
        """Cut an open file to ``size`` bytes, wherever it lies by now. Not synced."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a file within the file system, over what was there. Durable after syncing both directories."""
        ...

    def unlink(self, path: str) -> None: ...

    def copy(self, source: str, target: str, *, offset: int, sync: bool = True) -> None:
        """Copy a file's bytes from ``offset`` on into a new file, which is synced, its entry too.

        Without ``sync`` that is left to ``sync_all``.
        """
        ...

    def make_dirs(self, path: str) -> None:
        """Make a directory and its parents; each new entry is on disk when this returns."""
        ...

    def list_dir(self, path: str) -> list[str]:
        """Names in a directory, in no order; an absent directory has none."""
        ...

    def is_file(self, path: str) -> bool:
        """Tell whether a regular file, or a link to one, is there."""
        ...

    def is_dir(self, path: str) -> bool:
        """Tell whether a directory, or a link to one, is there."""
        ...


class OsDisk:
    """The real one."""

    def __init__(self) -> None:
        self._roots: dict[str, int] = {}
        self._scratch = memoryview(bytearray(NOW_BYTES_MAX))

    def open_append(self, path: str, *, create: bool) -> int:
        # 0600: recordings show what visitors did, so nobody else on the machine reads them.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return os.open(path, flags, 0o600)

    def write(self, handle: int, data: bytes) -> None:
        written = os.write(handle, data)
        if written < len(data):
            # A short write: a signal, or a disk that just filled up; the next call tells which.
            view = memoryview(data)
            while written < len(data):
                written += os.write(handle, view[written:])

    def sync(self, handle: int) -> None:
        os.fdatasync(handle)

    def sync_dir(self, path: str) -> None:
        handle = _open(path or os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_all(self, path: str) -> None:
        # One handle for good: a write-back error is told once to each handle that was open when it
        # happened, so a fresh one would miss what somebody else's sync has been told before.
        handle = self._roots.get(path)
        if handle is None:
            handle = self._roots[path] = _open(path or os.curdir, os.O_RDONLY | os.O_CLOEXEC)
        # syncfs(2) reports write-back errors since Linux 5.8; rrd asks for no older kernel.
        if _libc.syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)

    def close(self, handle: int) -> None:
        os.close(handle)

    def truncate(self, path: str, size: int, *, sync: bool = True) -> None:
        handle = _open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, size)
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)

    def cut(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def copy(self, source: str, target: str, *, offset: int, sync: bool = True) -> None:
        with open(source, "rb") as reader, open(target, "wb", opener=_private) as writer:
            reader.seek(offset)
            shutil.copyfileobj(reader, writer)
            writer.flush()
            if sync:
                os.fsync(writer.fileno())
        if sync:
            self.sync_dir(os.path.dirname(target))

    def make_dirs(self, path: str) -> None:
        # A relative path's first part lies in "", which is the current directory.
        if os.path.isdir(path or os.curdir):
            return
        parent = os.path.dirname(path)
        self.make_dirs(parent)
        os.makedirs(path, mode=0o700, exist_ok=True)
        self.sync_dir(parent)

    def list_dir(self, path: str) -> list[str]:
        try:
            return os.listdir(path)
        except FileNotFoundError:
            return []

    def is_file(self, path: str) -> bool:
        return os.path.isfile(path)

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def read(self, path: str, offset: int, size: int) -> bytes:
        handle = _open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_at(handle, offset, size)
        finally:
            os.close(handle)

    def read_now(self, path: str, offset: int, size: int) -> bytes | None:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Only what is in the page cache (preadv2(2)); some file systems don't tell.
            count = os.preadv(handle, [self._scratch[:size]], offset, os.RWF_NOWAIT)
        except OSError:
            return None
        finally:
            os.close(handle)
        return bytes(self._scratch[:size]) if count == size else None


def _private(path: str, flags: int) -> int:
    return _open(path, flags | os.O_CLOEXEC, 0o600)


def _open(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file in a worker thread; where all handles are taken, wait a moment for one.

    A directory that can't be opened to be synced would fail blocks that are written already. A segment isn't
    waited for here: the committer closes others for it.
    """
    deadline = time.monotonic() + _NO_HANDLE_PATIENCE_S
    while True:
        try:
            return os.open(path, flags, mode)
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE} or time.monotonic() > deadline:
                raise
        time.sleep(_NO_HANDLE_PAUSE_S)
