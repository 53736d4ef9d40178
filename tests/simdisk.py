"""``SimDisk``: a disk in memory that forgets what was not synced when the power is cut.

Method
------
Files are byte strings, and paths name them; relative ones begin in a directory that is there. Beside what a
running program sees, the disk keeps what is *durable*: the bytes below a file's synced size, and the
directory entries as of their last sync. ``power_cut`` throws away the rest as a real machine may:

- Bytes beyond the synced size are kept in part: none, some prefix, all, or all with holes (sectors
  of zeros or junk in the middle, since pages reach the disk in any order). Bytes below stay.
- Creating, renaming and unlinking change directory entries. A change that was not followed by
  ``sync_dir`` of its directory (for a rename: of both) or by ``sync_all`` happened or did not, each by
  its own coin. A rename is atomic: both its entries change or neither. Changes of one and the same
  entry keep their order, so an entry is found in one of the states that it went through.
- ``truncate``, ``copy`` and ``make_dirs`` are durable when they return, as ``Disk`` promises. Without their
  ``sync`` the first may bring back what it cut off, as above, and the second is a new file like any other.
- A sync that fails drops its pages for good, as Linux does: later syncs succeed, and the bytes may
  be gone after a cut all the same.

Every operation that changes the disk, and every open, has a number, counted from 0 (``operations`` is
the next one's). ``cut_at(n, when=...)`` cuts the power before operation n, half-way or after it: from
there on each call raises ``PowerCut``, also those of clean-up code, until ``power_cut`` switches the
machine on again (or ``kill``, for a killed process: then nothing is lost that the OS was given).
``fail_at(n, code)`` makes it raise ``OSError`` instead: a write leaves some prefix behind (a disk that
fills up), a sync drops its pages.

All choices come from one ``random.Random``, so that a seed repeats a run, and hypothesis
(``strategies.randoms()``) can shrink it.

Limits. Nothing rots: synced bytes never change by themselves (``put`` is there to damage them).
Directories are durable from the start and can't be removed. Space is endless but for ``fail_at``, and
reads never fail. Only what ``Disk`` promises is modelled: that a real ``fsync`` of a new file often
syncs its entry too is luck that no test should need.
"""

from __future__ import annotations

import errno
import os
import posixpath
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

When = Literal["before", "halfway", "after"]

_SECTOR_BYTES = 64
"""Smaller than a real one (512), so that the small files of tests have several."""


class PowerCut(BaseException):
    """The machine is off. Not an ``Exception``: no handler for errors may survive it."""


class _File:
    """Bytes, how far they are on disk, which a failed sync dropped, which a cut may bring back."""

    __slots__ = ("data", "dropped", "removed", "synced_size")

    def __init__(self, data: bytes = b"", *, synced: bool = False) -> None:
        self.data = bytearray(data)
        self.synced_size = len(data) if synced else 0
        self.dropped: list[tuple[int, int]] = []
        self.removed = b""
        """Bytes behind the end that a truncation took away which isn't on disk yet."""

    def append(self, data: bytes) -> None:
        assert not self.removed, "what lies behind an unsynced truncation after a power cut is not modelled"
        self.data.extend(data)

    def sync(self) -> None:
        self.synced_size = len(self.data)
        self.removed = b""

    def drop(self) -> None:
        if self.synced_size < len(self.data):
            self.dropped.append((self.synced_size, len(self.data)))

    def truncate(self, size: int, *, sync: bool) -> None:
        removed = bytes(self.data[size:])
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.dropped = [(start, min(limit, size)) for start, limit in self.dropped if start < size]
        if sync:
            self.sync()
        else:
            self.removed = removed + self.removed
            self.synced_size = min(self.synced_size, size)

    def cut(self, rng: random.Random) -> None:
        """Keep what a power cut leaves."""
        self.data.extend(self.removed)
        for start, limit in self.dropped:
            self._punch(rng, start, limit)
        unsynced = len(self.data) - self.synced_size
        if unsynced:
            outcome = rng.choice(("nothing", "prefix", "whole", "holes"))
            if outcome == "nothing":
                del self.data[self.synced_size :]
            elif outcome != "whole":
                del self.data[self.synced_size + rng.randint(0, unsynced) :]
            if outcome == "holes":
                self._punch(rng, self.synced_size, len(self.data))
        self.dropped.clear()
        self.sync()

    def _punch(self, rng: random.Random, start: int, limit: int) -> None:
        for sector in range(start // _SECTOR_BYTES * _SECTOR_BYTES, limit, _SECTOR_BYTES):
            first, last = max(sector, start), min(sector + _SECTOR_BYTES, limit)
            outcome = rng.choice(("good", "zeros", "junk"))
            if outcome == "zeros":
                self.data[first:last] = bytes(last - first)
            elif outcome == "junk":
                self.data[first:last] = rng.randbytes(last - first)


class _Change:
    """One atomic change of directory entries that is not durable yet."""

    __slots__ = ("entries", "unsynced_dirs")

    def __init__(self, entries: dict[str, _File | None]) -> None:
        self.entries = entries
        """Path → the file that it names from now on, or None."""
        self.unsynced_dirs = {posixpath.dirname(path) for path in entries}


def _nothing() -> None:
    pass


class SimDisk:
    """A ``Disk`` (rrd.disk.disk) in memory. Thread-safe; see the module's *Method*."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self.operations = 0
        """Number of the next operation."""
        self.log: list[str] = []
        """What each operation was: ``log[n]`` is the n-th."""
        self._rng = rng or random.Random(0)
        self._lock = threading.RLock()
        self._dirs = {"/", ""}
        self._entries: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._changes: list[_Change] = []
        self._handles: dict[int, _File] = {}
        self._next_handle = 1000
        self._cuts: dict[int, When] = {}
        self._failures: dict[int, int] = {}
        self._off = False
        self._asked = 0

    # What tests do to it

    def cut_at(self, operation: int, *, when: When = "before") -> None:
        """Plan an end: that operation, and each call after it, raises ``PowerCut``.

        ``power_cut`` or ``kill`` then says what kind of end it was, and switches on again.
        """
        self._cuts[operation] = when

    def fail_at(self, operation: int, code: int = errno.EIO) -> None:
        """Plan a failure: that operation raises ``OSError`` and is done in part or not at all."""
        self._failures[operation] = code

    def power_cut(self) -> None:
        """Cut the power, if a planned cut has not, and switch on again.

        Open handles are gone, and so are plans that did not come true.
        """
        with self._lock:
            # Extremes are likelier than coins alone make them: everything lost, everything kept.
            kept_share = self._rng.choice((0.0, 0.5, 1.0))
            held: set[str] = set()
            for change in self._changes:
                if held.isdisjoint(change.entries) and self._rng.random() < kept_share:
                    _apply(change, self._durable)
                else:
                    held.update(change.entries)
            self._changes.clear()
            for file in {id(file): file for file in self._durable.values()}.values():
                file.cut(self._rng)
            self._entries = dict(self._durable)
            self.kill()

    def kill(self) -> None:
        """End the program as ``kill -9`` does: handles and plans are gone, what the OS was given is not."""
        with self._lock:
            self._handles.clear()
            self._cuts.clear()
            self._failures.clear()
            self._off = False

    def halt(self) -> None:
        """Let nothing more reach the disk: what ended that, ``power_cut`` or ``kill`` will say."""
        with self._lock:
            self._off = True

    def put(self, path: str, data: bytes) -> None:
        """Make or replace a file, durable at once: for damage and for files made elsewhere."""
        with self._lock:
            self._in_dir(path)
            self._entries[path] = self._durable[path] = _File(data, synced=True)

    @property
    def open_handles(self) -> int:
        """How many handles are open: 0 where none leaked."""
        return len(self._handles)

    def files(self) -> dict[str, bytes]:
        """Return every file as a running program sees it."""
        with self._lock:
            return {path: bytes(file.data) for path, file in self._entries.items()}

    # What ``Disk`` promises

    def open_append(self, path: str, *, create: bool) -> int:
        with self._operation(f"open {path}"):
            if create:
                if path in self._entries or path in self._dirs:
                    raise _error(errno.EEXIST, path)
                self._in_dir(path)
                self._change({path: _File()})
            self._next_handle += 1
            self._handles[self._next_handle] = self._file(path)
            return self._next_handle

    def write(self, handle: int, data: bytes) -> None:
        def in_part() -> None:
            file.append(data[: self._rng.randint(0, len(data))])

        file = self._opened(handle)
        with self._operation(f"write {len(data)}", partly=in_part):
            file.append(data)

    def sync(self, handle: int) -> None:
        file = self._opened(handle)
        with self._operation("sync", failing=file.drop):
            file.sync()

    def sync_dir(self, path: str) -> None:
        with self._operation(f"sync_dir {path}"):
            if path not in self._dirs:
                raise _error(errno.ENOTDIR if path in self._entries else errno.ENOENT, path)
            for change in self._changes:
                change.unsynced_dirs.discard(path)
            self._settle()

    def sync_all(self, path: str) -> None:
        def drop_all() -> None:
            for file in [*self._entries.values(), *self._handles.values()]:
                file.drop()

        with self._operation("sync_all", failing=drop_all):
            if path not in self._dirs:
                self._file(path)
            for file in [*self._entries.values(), *self._handles.values()]:
                file.sync()
            for change in self._changes:
                change.unsynced_dirs.clear()
            self._settle()

    def close(self, handle: int) -> None:
        with self._powered():
            self._opened(handle)
            del self._handles[handle]

    def truncate(self, path: str, size: int, *, sync: bool = True) -> None:
        def in_part() -> None:
            if path in self._entries and self._rng.random() < 0.5:
                self._file(path).truncate(size, sync=sync)

        with self._operation(f"truncate {path} {size}", partly=in_part):
            self._file(path).truncate(size, sync=sync)

    def cut(self, handle: int, size: int) -> None:
        file = self._opened(handle)
        with self._operation(f"cut {size}"):
            file.truncate(size, sync=False)

    def rename(self, source: str, target: str) -> None:
        with self._operation(f"rename {source} {target}"):
            file = self._file(source)
            if target in self._dirs:
                raise _error(errno.EISDIR, target)
            self._in_dir(target)
            if source != target:
                self._change({source: None, target: file})

    def unlink(self, path: str) -> None:
        with self._operation(f"unlink {path}"):
            self._file(path)
            self._change({path: None})

    def copy(self, source: str, target: str, *, offset: int, sync: bool = True) -> None:
        def begun() -> tuple[_File, bytes]:
            data = bytes(self._file(source).data[offset:])
            if target not in self._entries:
                if target in self._dirs:
                    raise _error(errno.EISDIR, target)
                self._in_dir(target)
                self._change({target: _File()})
            file = self._entries[target]
            file.data.clear()
            file.removed = b""
            file.dropped.clear()
            file.synced_size = 0
            return file, data

        def in_part() -> None:
            file, data = begun()
            file.data.extend(data[: self._rng.randint(0, len(data))])

        with self._operation(f"copy {source} {target}", partly=in_part):
            file, data = begun()
            file.data.extend(data)
            if not sync:
                return
            file.sync()
            # Its own entry only: more is not promised.
            for change in self._changes:
                if target in change.entries:
                    change.unsynced_dirs.clear()
            self._settle()

    def make_dirs(self, path: str) -> None:
        missing: list[str] = []
        with self._powered():
            while path not in self._dirs:
                if path in self._entries:
                    raise _error(errno.EEXIST, path)
                missing.insert(0, path)
                path = posixpath.dirname(path)
        if not missing:
            return

        def in_part() -> None:
            self._dirs.update(missing[: self._rng.randrange(len(missing))])

        with self._operation(f"make_dirs {missing[-1]}", partly=in_part):
            self._dirs.update(missing)

    def list_dir(self, path: str) -> list[str]:
        with self._powered():
            if path in self._entries:
                raise _error(errno.ENOTDIR, path)
            inside = [*self._entries, *self._dirs - {"/", ""}]
            return [posixpath.basename(name) for name in inside if posixpath.dirname(name) == path]

    def is_file(self, path: str) -> bool:
        with self._powered():
            return path in self._entries

    def is_dir(self, path: str) -> bool:
        with self._powered():
            return path in self._dirs

    def size(self, path: str) -> int:
        with self._powered():
            return len(self._file(path).data)

    def read(self, path: str, offset: int, size: int) -> bytes:
        with self._powered():
            return bytes(self._file(path).data[offset : offset + size])

    def read_now(self, path: str, offset: int, size: int) -> bytes | None:
        """Every other time it is not at hand."""
        self._asked += 1
        if self._asked % 2:
            return None
        try:
            data = self.read(path, offset, size)
        except OSError:
            return None
        return data if len(data) == size else None

    # How it does it

    @contextmanager
    def _powered(self) -> Iterator[None]:
        with self._lock:
            if self._off:
                raise PowerCut("the power is off")
            yield

    @contextmanager
    def _operation(
        self,
        what: str,
        *,
        partly: Callable[[], None] = _nothing,
        failing: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Count an operation and let what is planned for it happen. The body is the whole operation.

        ``partly`` does a part of it, for a cut half-way and, without ``failing``, for a failure.
        """
        with self._powered():
            number = self.operations
            self.operations += 1
            self.log.append(what)
            when = self._cuts.pop(number, None)
            code = self._failures.pop(number, None)
            if when in ("before", "halfway"):
                if when == "halfway":
                    partly()
                self._off = True
                raise PowerCut(f"{when} operation {number}: {what}")
            try:
                if code is not None:
                    (failing or partly)()
                    raise _error(code, what)
                yield
            finally:
                if when == "after":
                    self._off = True
                    raise PowerCut(f"after operation {number}: {what}")

    def _change(self, entries: dict[str, _File | None]) -> None:
        change = _Change(entries)
        _apply(change, self._entries)
        self._changes.append(change)

    def _settle(self) -> None:
        """Make durable each change whose directories are synced, and those before it on its entries."""
        settled: list[_Change] = []
        waiting: list[_Change] = []
        paths: set[str] = set()
        for change in reversed(self._changes):
            if not change.unsynced_dirs or not paths.isdisjoint(change.entries):
                paths.update(change.entries)
                settled.append(change)
            else:
                waiting.append(change)
        for change in reversed(settled):
            _apply(change, self._durable)
        self._changes = waiting[::-1]

    def _file(self, path: str) -> _File:
        if path in self._dirs:
            raise _error(errno.EISDIR, path)
        self._in_dir(path)
        if path not in self._entries:
            raise _error(errno.ENOENT, path)
        return self._entries[path]

    def _in_dir(self, path: str) -> None:
        parent = posixpath.dirname(path)
        if parent not in self._dirs:
            raise _error(errno.ENOTDIR if parent in self._entries else errno.ENOENT, path)

    def _opened(self, handle: int) -> _File:
        with self._powered():
            if handle not in self._handles:
                raise _error(errno.EBADF, str(handle))
            return self._handles[handle]


def _apply(change: _Change, entries: dict[str, _File]) -> None:
    for path, file in change.entries.items():
        if file is None:
            entries.pop(path, None)
        else:
            entries[path] = file


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
