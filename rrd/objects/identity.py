"""Which object store belongs to which data directory: an id in both.

A wrong or unmounted directory looks like an empty one. So the data directory holds a file ``identity`` with
an id and the store that it uses, and the store holds an object ``identity.json`` with the same id. ``judge``
says what each combination means; ``OwnedStore`` asks before the first change, and again every minute.

Two daemons with copies of one data directory have the same id. On one machine the second can't lock the
marker of a local store. In a bucket the marker names the daemon that started last, and the other one stops
writing there.
"""

from __future__ import annotations

import contextlib
import errno
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Literal

import msgspec

from rrd import layout
from rrd.disk.disk import Disk
from rrd.disk.lock import FileLock
from rrd.errors import ConfigError, ObjectMissing, WrongStore
from rrd.objects.local import LocalStore
from rrd.objects.store import ObjectInfo, ObjectStore, Removed

MARKER_KEY = "identity.json"
"""No key of an object: those begin with a tenant's name, which has no dot."""

_MARKER_BYTES_MAX = 4096
_ASK_AGAIN_S = 60.0

Verdict = Literal["same", "mark", "foreign", "emptied", "other_store"]


class Own(msgspec.Struct, frozen=True):
    """What a data directory knows of itself: the file ``identity``."""

    id: str
    store: str = ""
    """The name of the store that was marked; empty before the first."""


class Marker(msgspec.Struct, frozen=True):
    """What a store says of its owner."""

    id: str
    """The data directory's."""
    daemon: str = ""
    """A daemon's own, made at each start."""


def judge(own: Own | None, marker: Marker | None, *, store_name: str) -> Verdict:
    """Decide what a data directory and a store are to each other. ``own`` None: it has no identity yet.

    ``same``: they belong together. ``mark``: neither has belonged to another: mark them. ``foreign``: the
    store belongs to another data directory. ``emptied``: this store was marked, and the mark is gone.
    ``other_store``: this data directory has its objects in another store.
    """
    if marker is not None:
        return "same" if own is not None and own.id == marker.id else "foreign"
    if own is None or not own.store:
        return "mark"
    return "emptied" if own.store == store_name else "other_store"


def explained(verdict: Verdict, own: Own | None, *, store_name: str, data_dir: str) -> str:
    """Return what a verdict other than ``same`` and ``mark`` means, and what to do."""
    first = {
        "foreign": f"{store_name} belongs to another data directory than {data_dir}",
        "emptied": f"{store_name} has lost its {MARKER_KEY}: it is not mounted, or not the one it was",
        "other_store": f"the objects of {data_dir} are in {own.store if own else ''}, not in {store_name}",
    }[verdict]
    return (
        f"{first}. Check that both are mounted, and check data_dir, objects_dir, s3_bucket and s3_prefix."
        " Only if this store is meant for this data directory from now on: rrd adopt-store"
    )


class OwnedStore:
    """A store that is changed only while it belongs to the data directory. Reading asks nothing."""

    def __init__(self, store: ObjectStore, data_dir: str, disk: Disk) -> None:
        self.name = store.name
        self._store = store
        self._data_dir = data_dir
        self._disk = disk
        self._daemon = str(uuid.uuid4())
        self._asked_at: float | None = None
        self._is_marked = False
        self._locks: list[FileLock] = []
        self.now: Callable[[], float] = time.monotonic

    async def confirm(self) -> None:
        """Make sure that the store belongs to the data directory; mark both at the first time.

        Raises ``WrongStore`` with what to do, ``StoreAway``.
        """
        own, marker = read_own(self._data_dir, self._disk), await self._marker()
        verdict = judge(own, marker, store_name=self.name)
        if verdict == "mark" or (verdict == "same" and not self._is_marked):
            try:
                await self._mark(own or Own(str(uuid.uuid4())))
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT} or marker is None or not self._locks:
                    raise
                # A full disk, on which this daemon is to make room. Its lock keeps others away, so the mark
                # of the daemon before will do.
                self._daemon, self._is_marked = marker.daemon, True
        elif verdict != "same":
            raise WrongStore(explained(verdict, own, store_name=self.name, data_dir=self._data_dir))
        elif marker is not None and marker.daemon != self._daemon:
            raise WrongStore(
                f"another daemon with a copy of {self._data_dir} uses {self.name}. Stop one of the two, then"
                " restart the other"
            )
        self._asked_at = self.now()

    async def check_owner(self) -> None:
        """Raise ``WrongStore`` if the store belongs to another data directory. Marks nothing."""
        own = read_own(self._data_dir, self._disk)
        verdict = judge(own, await self._marker(), store_name=self.name)
        if verdict not in {"same", "mark"}:
            raise WrongStore(explained(verdict, own, store_name=self.name, data_dir=self._data_dir))

    async def adopt(self) -> Marker | None:
        """Make the store this data directory's, whatever it was. Return the mark that it had."""
        before = await self._marker()
        await self._mark(read_own(self._data_dir, self._disk) or Own(str(uuid.uuid4())))
        return before

    async def _marker(self) -> Marker | None:
        try:
            text = await self._store.read(MARKER_KEY, 0, _MARKER_BYTES_MAX)
        except ObjectMissing:
            return None
        try:
            return msgspec.json.decode(text, type=Marker)
        except msgspec.DecodeError:
            raise WrongStore(
                f"{self.name}: {MARKER_KEY} can't be read; it should hold an id as JSON"
            ) from None

    async def _mark(self, own: Own) -> None:
        self._hold()
        if read_own(self._data_dir, self._disk) is None:
            # First: a mark whose put was cut off, or whose answer was lost, is then known for this one's.
            write_own(self._data_dir, Own(own.id), self._disk)
        part = f"{self._data_dir}/identity.marker"
        mark = Marker(own.id, self._daemon)
        _write(part, mark, self._disk)
        try:
            await self._store.put(MARKER_KEY, part)
        finally:
            self._disk.unlink(part)
        if await self._marker() != mark:
            # Of two that found no mark at the same moment, the one that put its own last has the store.
            raise WrongStore(
                f"another daemon has begun to use {self.name} at the same moment. Give each an objects_dir,"
                " or an s3_prefix, of its own, or stop the other"
            )
        write_own(self._data_dir, Own(own.id, self.name), self._disk)
        self._is_marked = True
        self._hold()  # Putting has made it another file.

    def _hold(self) -> None:
        """FileLock the marker of a local store against a second daemon. Raises ``WrongStore``."""
        if not isinstance(self._store, LocalStore):
            return
        with contextlib.suppress(FileNotFoundError):
            try:
                self._locks.append(FileLock(f"{self._store.root}/{MARKER_KEY}"))
            except BlockingIOError:
                raise WrongStore(
                    f"another daemon uses {self.name}. Give each an objects_dir of its own, or stop the other"
                ) from None

    async def _ask(self) -> None:
        if self._asked_at is None or self.now() - self._asked_at >= _ASK_AGAIN_S:
            self._asked_at = None
            await self.confirm()

    # The store

    async def put(self, key: str, path: str) -> None:
        await self._ask()
        await self._store.put(key, path)

    async def read(self, key: str, offset: int, size: int) -> bytes:
        return await self._store.read(key, offset, size)

    async def size(self, key: str) -> int:
        # An eviction asks this before it deletes what is here.
        return await self._store.size(key)

    async def list(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        async for info in self._store.list(prefix):
            if info.key != MARKER_KEY:
                yield info

    async def delete(self, key: str) -> None:
        await self._ask()
        await self._store.delete(key)

    async def delete_prefix(self, prefix: str) -> Removed:
        await self._ask()
        return await self._store.delete_prefix(prefix)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        self.release()
        await self._store.close()

    def release(self) -> None:
        """Let another daemon have the store."""
        for lock in self._locks:
            lock.release()


def read_own(data_dir: str, disk: Disk) -> Own | None:
    """Return what the data directory knows of itself. Raises ``ConfigError`` if that can't be read."""
    path = layout.identity_path(data_dir)
    try:
        return msgspec.json.decode(disk.read(path, 0, disk.size(path)), type=Own)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise ConfigError(
            f"{path} can't be read; it should hold an id as JSON. Put it back from a backup, or remove it and"
            " run rrd adopt-store"
        ) from None


def has_marked(data_dir: str, disk: Disk) -> bool:
    """Tell whether a store was ever marked as this data directory's. Raises ``ConfigError``."""
    own = read_own(data_dir, disk)
    return own is not None and bool(own.store)


def write_own(data_dir: str, own: Own, disk: Disk) -> None:
    """Write the file ``identity``; on disk when this returns."""
    path = layout.identity_path(data_dir)
    _write(f"{path}.part", own, disk)
    disk.rename(f"{path}.part", path)
    disk.sync_dir(data_dir)


def _write(path: str, value: Own | Marker, disk: Disk) -> None:
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(path)
    handle = disk.open_append(path, create=True)
    try:
        disk.write(handle, msgspec.json.encode(value) + b"\n")
        disk.sync(handle)
    finally:
        disk.close(handle)
