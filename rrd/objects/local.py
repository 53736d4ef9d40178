"""Objects as files of a local directory: the default, with nothing to install.

A key is a path below the directory. An object appears by one rename, whole and synced; until then it has a
hidden name beside its place (``.name.new``), which no listing shows; one that a crash left is taken away by
the next put of the same key, or by the deletion of its prefix.

Work is done in threads of the store's own, so that a slow disk holds up nobody else. A call that took too
long is given up: its thread may go on, and then changes nothing any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import stat
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from rrd.disk import files
from rrd.disk.disk import Disk
from rrd.errors import ObjectMissing, ObjectRejected, ObjectUnreadable, StoreAway
from rrd.objects.store import ObjectInfo, Removed

_T = TypeVar("_T")

_THREADS = 4
_TIMEOUT_S = 60.0
_BYTES_PER_TIMEOUT = 100 << 20  # A put of that many bytes may take as long again: 2 MB/s.
_PAGE_SIZE = 1000
_HIDDEN = ".new"
_TRIES = 10
_FSCK_DIR = "lost+found/"
"""Made by mkfs at the root of a file system, and root's alone: no object of ours is in it."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
"""A link can't be made between these places: another file system, or one that has none (link(2))."""
_UNREADABLE = {errno.EIO, errno.EACCES, errno.EPERM}
"""One file's own fault. The other objects of the store can be read all the same."""
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


class LocalStore:
    """``ObjectStore`` over the directory ``root``, made if it is absent (``OSError`` if it can't be).

    ``put`` links the file if it can, so the file must not be written to afterwards, only unlinked. If
    ``root`` vanishes later, as when its disk is unmounted, that is ``StoreAway`` and not an empty store.
    """

    def __init__(
        self, root: str, disk: Disk, *, timeout_s: float = _TIMEOUT_S, page_size: int = _PAGE_SIZE
    ) -> None:
        self.name = f"local:{root}"
        self.root = self._root = root
        self._disk = disk
        self._timeout_s = timeout_s
        self._page_size = page_size
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="rrd-objects")
        # Of those who change something, one at a time: no directory may go while a file is put into it.
        self._changing = asyncio.Lock()
        # Puts take turns in their threads as well: one that was cancelled may still be at it.
        self._in_thread = threading.Lock()
        disk.make_dirs(root)

    # ObjectStore

    async def put(self, key: str, path: str) -> None:
        target = self._path(key)
        absent = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        size = await self._run(f"put {key}", lambda _: _size(path), absent=absent)
        async with self._changing:
            await self._run(
                f"put {key}", lambda call: self._put(call, path, target), size=size, absent=absent
            )
        if (stored := await self.size(key)) != size:
            raise ObjectRejected(f"{self.name}: {key} has {stored} bytes, and {size} were put")

    async def read(self, key: str, offset: int, size: int) -> bytes:
        path = self._path(key)
        return await self._run(
            f"read {key}", lambda _: _read(path, offset, size), absent=self._missing(key), size=size
        )

    async def size(self, key: str) -> int:
        path = self._path(key)
        return await self._run(f"look up {key}", lambda _: _size(path), absent=self._missing(key))

    async def list(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        found = (_info(file) for file in self._walk(prefix) if not file.is_hidden)
        there = (info for info in found if info is not None)
        while page := await self._run("list", lambda _: [*itertools.islice(there, self._page_size)]):
            for info in page:
                yield info

    async def delete(self, key: str) -> None:
        path = self._path(key)
        async with self._changing:
            both = [_StoredFile(path, key, False), _StoredFile(_hidden(path), key, True)]
            await self._run(f"delete {key}", functools.partial(self._remove, both))

    async def delete_prefix(self, prefix: str) -> Removed:
        if not prefix:
            raise ValueError("an empty prefix is everything")
        what = f"delete {prefix}"
        objects = size = 0
        async with self._changing:
            found = self._walk(prefix)
            while page := await self._run(what, lambda _: [*itertools.islice(found, self._page_size)]):
                removed = await self._run(what, functools.partial(self._remove, page))
                objects += removed.objects
                size += removed.size
        return Removed(objects, size)

    async def check(self) -> None:
        def look(_: _Call) -> None:
            self._find_root()
            os.scandir(self._root).close()

        await self._run("list", look)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # In threads

    def _put(self, call: _Call, path: str, target: str) -> None:
        with self._in_thread:
            call.go_on()
            self._link_and_rename(call, path, target)

    def _link_and_rename(self, call: _Call, path: str, target: str) -> None:
        directory, hidden = os.path.dirname(target), _hidden(target)
        for tries_left in reversed(range(_TRIES)):
            self._find_root()
            try:
                self._disk.make_dirs(directory)
                self._place(path, hidden)
                call.go_on()
                self._disk.rename(hidden, target)
                with contextlib.suppress(FileNotFoundError):
                    # Still there if the same file was put before: then renaming does nothing (rename(2)).
                    self._disk.unlink(hidden)
                break
            except FileNotFoundError:
                if not os.path.exists(path):
                    raise
                # So another process removed the directory while it was empty.
                if not tries_left:
                    raise StoreAway(f"{self.name}: {directory} is removed again and again") from None
            except OSError:
                with contextlib.suppress(OSError):
                    self._disk.unlink(hidden)
                raise
        self._disk.sync_dir(directory)

    def _place(self, path: str, hidden: str) -> None:
        """Make ``hidden`` the file's bytes, synced: by a link, or on another file system by a copy."""
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(hidden)
        try:
            files.link(path, hidden)
        except OSError as error:
            # Never where ``hidden`` is there after all: it may be a link to ``path``, which copying empties.
            if error.errno not in _NO_LINK:
                raise
            self._disk.copy(path, hidden, offset=0)
            return
        files.make_private(hidden)
        handle = self._disk.open_append(hidden, create=False)
        try:
            self._disk.sync(handle)
        finally:
            self._disk.close(handle)

    def _remove(self, found: Iterable[_StoredFile], call: _Call) -> Removed:
        """Unlink files, and then directories that are empty now."""
        objects = size = 0
        self._find_root()
        for directory, group in itertools.groupby(found, lambda file: os.path.dirname(file.path)):
            for file in group:
                call.go_on()
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    file_size = _size(file.path)
                    self._disk.unlink(file.path)
                    objects += not file.is_hidden
                    size += 0 if file.is_hidden else file_size
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._disk.sync_dir(directory)
            files.remove_empty_dirs(directory, below=self._root)
        return Removed(objects, size)

    def _walk(self, prefix: str) -> Iterator[_StoredFile]:
        """Yield files whose keys begin with ``prefix``, in the order of keys.

        Memory: the names of one directory on each level.
        """
        below = prefix[: prefix.rfind("/") + 1]
        if below and not _is_key(below[:-1]):
            return
        # As below, where links are not followed: what they lead to isn't ours to delete.
        parents = itertools.accumulate(below.split("/")[:-1], "{}/{}".format)
        if not any(os.path.islink(f"{self._root}/{parent}") for parent in parents):
            yield from self._walk_dir(below, prefix)

    def _walk_dir(self, below: str, prefix: str) -> Iterator[_StoredFile]:
        if below == _FSCK_DIR:
            return
        self._find_root()
        try:
            with os.scandir(f"{self._root}/{below}") as entries:
                # A directory's objects come where its name and a slash do: "a-b" is before "a/b".
                names = sorted(
                    (
                        entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                        for entry in entries
                    ),
                    key=os.fsencode,
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            key = below + name
            if name.endswith("/"):
                if (key.startswith(prefix) or prefix.startswith(key)) and _is_key(name[:-1]):
                    yield from self._walk_dir(key, prefix)
                continue
            is_hidden = name.startswith(".") and name.endswith(_HIDDEN)
            if is_hidden:
                key = below + name[1 : -len(_HIDDEN)]
            if key.startswith(prefix) and (is_hidden or _is_key(name)):
                yield _StoredFile(f"{self._root}/{below}{name}", key, is_hidden)

    def _find_root(self) -> None:
        if not os.path.isdir(self._root):
            raise StoreAway(f"{self.name}: there is no such directory: is its disk mounted?")

    # Between

    async def _run(
        self, what: str, do: Callable[[_Call], _T], *, size: int = 0, absent: Exception | None = None
    ) -> _T:
        """Do it in a thread, within the deadline. ``absent`` is raised if what it needs isn't there."""
        call = _Call()
        deadline_s = self._timeout_s * (1 + size / _BYTES_PER_TIMEOUT)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, do, call)
        except TimeoutError as error:
            raise StoreAway(f"{self.name}: can't {what}: no answer within {deadline_s:.0f} s") from error
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            if isinstance(absent, ObjectMissing) and error.errno in _UNREADABLE:
                raise ObjectUnreadable(
                    f"{self.name}: can't {what}: {error.strerror}", errno=error.errno or 0
                ) from error
            if absent is None or error.errno not in _NOT_THERE:
                raise StoreAway(f"{self.name}: can't {what}: {error.strerror}") from error
        finally:
            call.is_given_up = True
        await self._run(what, lambda _: self._find_root())
        raise absent

    def _path(self, key: str) -> str:
        if not _is_key(key):
            raise ValueError(f"{key!r} is no key of an object")
        return f"{self._root}/{key}"

    def _missing(self, key: str) -> ObjectMissing:
        return ObjectMissing(f"{self.name}: there is no object {key}")


class _Call:
    """A call from the loop, for the thread to look whether anybody still waits for it."""

    def __init__(self) -> None:
        self.is_given_up = False

    def go_on(self) -> None:
        if self.is_given_up:
            raise StoreAway("given up")


class _StoredFile(NamedTuple):
    path: str
    key: str
    is_hidden: bool
    """Left by a put that did not finish."""


def _is_key(key: str) -> bool:
    """Tell if this is a path that stays below where it begins, and isn't hidden anywhere."""
    return "\0" not in key and not any(part.startswith(".") or not part for part in key.split("/"))


def _hidden(path: str) -> str:
    directory, name = os.path.split(path)
    return f"{directory}/.{name}{_HIDDEN}"


def _size(path: str) -> int:
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return found.st_size


def _info(file: _StoredFile) -> ObjectInfo | None:
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(file.path)
        if stat.S_ISREG(found.st_mode):
            return ObjectInfo(file.key, found.st_size, found.st_mtime_ns // 1_000_000)
    return None


def _read(path: str, offset: int, size: int) -> bytes:
    handle = files.open_handle(path, follow=False)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return files.read_at(handle, offset, size)
    finally:
        os.close(handle)
