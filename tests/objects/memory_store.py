"""An object store in memory that fails as told: away, silent, slow, short, forgetful, and losing answers.

Method. It keeps ``ObjectStore``'s promises as long as no switch is thrown. ``fail``, ``hang`` and
``lose_answers`` take names of methods (none: all of them) and hold until ``heal``; with ``times`` they
heal by themselves. What a test wants to know was counted: ``calls``, ``reads``, ``bytes_read``. Its owner's
mark is kept apart from the objects: a start's questions about it count as ``mark``, and use up no ``times``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

from rrd.errors import ObjectMissing, StoreAway
from rrd.objects.identity import MARKER_KEY
from rrd.objects.store import ObjectInfo, Removed
from tests.simdisk import SimDisk

METHODS = frozenset({"put", "read", "size", "list", "delete", "delete_prefix", "check"})


class MemoryStore:
    """Objects in a dictionary. ``disk``: where ``put`` finds its files; None for the real file system."""

    def __init__(
        self,
        objects: dict[str, bytes] | None = None,
        *,
        disk: SimDisk | None = None,
        mark: bytes | None = None,
    ) -> None:
        self.name = "memory:test"
        self.objects: dict[str, bytes] = dict(objects or {})
        self.mark = mark
        """``identity.json``."""
        self.calls: Counter[str] = Counter()
        """How often each method was called, refused calls included."""
        self.reads: list[tuple[str, int, int]] = []
        """Key, offset and size of each ``read`` that was answered."""
        self.bytes_read = 0
        self.waiting = 0
        """Calls that hang now."""
        self.is_closed = False
        self.deadline_s = 60.0
        """When a call that hangs gives up with ``StoreAway``, as every store has to some time."""
        self._disk = disk
        self._modified_ms: dict[str, int] = {}
        self._failing: dict[str, tuple[Exception, int | None]] = {}
        self._losing: dict[str, int | None] = {}
        self._hanging: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._delay_s = 0.0
        self._short_by: dict[str, int] = {}

    # Switches

    def fail(self, *methods: str, error: Exception | None = None, times: int | None = None) -> None:
        """Have calls raise ``error`` (``StoreAway`` by default) before they do anything, ``times`` each."""
        for method in _checked(methods):
            self._failing[method] = (error or StoreAway("the test took the store away"), times)

    def hang(self, *methods: str) -> None:
        """Have calls wait before they do anything, until ``heal``, cancellation or ``deadline_s``."""
        for method in _checked(methods):
            self._hanging.setdefault(method, asyncio.Event())

    def lose_answers(self, *methods: str, times: int | None = None) -> None:
        """Have calls do their work and raise ``StoreAway`` then."""
        self._losing.update(dict.fromkeys(_checked(methods), times))

    def slow_down(self, delay_s: float) -> None:
        """Have each call take so long at least."""
        self._delay_s = delay_s

    def shorten(self, key: str, by: int) -> None:
        """Have reads of ``key`` return ``by`` bytes fewer than they should."""
        self._short_by[key] = by

    def damage(self, key: str, offset: int) -> None:
        """Flip a bit of an object's byte. Negative offsets count from the end."""
        data = bytearray(self.objects[key])
        data[offset] ^= 1
        self.objects[key] = bytes(data)

    def heal(self) -> None:
        """Undo all switches but ``damage``; calls that hang go on. From any thread."""
        self._failing.clear()
        self._losing.clear()
        for event in self._hanging.values():
            if self.waiting and self._loop is not None:
                self._loop.call_soon_threadsafe(event.set)
            else:
                event.set()
        self._hanging.clear()
        self._short_by.clear()
        self._delay_s = 0.0

    # ObjectStore

    async def put(self, key: str, path: str) -> None:
        await self._begin("put", key)
        if self._disk is None:
            data = await asyncio.to_thread(Path(path).read_bytes)
        else:
            data = self._disk.read(path, 0, self._disk.size(path))
        if key == MARKER_KEY:
            self.mark = data
            return
        self.objects[key] = data
        self._modified_ms[key] = time.time_ns() // 1_000_000
        self._end("put")

    async def read(self, key: str, offset: int, size: int) -> bytes:
        await self._begin("read", key)
        if key == MARKER_KEY:
            if self.mark is None:
                raise ObjectMissing("nobody has marked this store")
            return self.mark
        data = self._find(key)[offset : offset + size]
        data = data[: max(0, len(data) - self._short_by.get(key, 0))]
        self.reads.append((key, offset, size))
        self.bytes_read += len(data)
        self._end("read")
        return data

    async def size(self, key: str) -> int:
        await self._begin("size")
        size = len(self._find(key))
        self._end("size")
        return size

    async def list(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        await self._begin("list")
        for key in sorted(self.objects, key=str.encode):
            # Looked up again: it may go while the caller thinks about the one before.
            if key.startswith(prefix) and (data := self.objects.get(key)) is not None:
                yield ObjectInfo(key, len(data), self._modified_ms.get(key, 0))
        self._end("list")

    async def delete(self, key: str) -> None:
        await self._begin("delete")
        self.objects.pop(key, None)
        self._end("delete")

    async def delete_prefix(self, prefix: str) -> Removed:
        assert prefix, "an empty prefix would remove everything"
        await self._begin("delete_prefix")
        found = [key for key in self.objects if key.startswith(prefix)]
        removed = Removed(len(found), sum(len(self.objects.pop(key)) for key in found))
        self._end("delete_prefix")
        return removed

    async def check(self) -> None:
        await self._begin("check")
        self._end("check")

    async def close(self) -> None:
        self.is_closed = True

    def _find(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectMissing(f"there is no object {key}") from None

    async def _begin(self, method: str, key: str = "") -> None:
        assert not self.is_closed, f"{method} after close"
        self.calls["mark" if key == MARKER_KEY else method] += 1
        # Other tasks go on here, as they would while a real store is asked.
        await asyncio.sleep(self._delay_s)
        if (event := self._hanging.get(method)) is not None:
            self._loop = asyncio.get_running_loop()
            self.waiting += 1
            try:
                await asyncio.wait_for(event.wait(), self.deadline_s)
            except TimeoutError:
                raise StoreAway(f"no answer in {self.deadline_s} s") from None
            finally:
                self.waiting -= 1
        if method in self._failing:
            error, times = self._failing[method]
            if times is not None and key == MARKER_KEY:
                return
            if times is not None:
                if times <= 1:
                    del self._failing[method]
                else:
                    self._failing[method] = (error, times - 1)
            raise error

    def _end(self, method: str) -> None:
        if method in self._losing:
            times = self._losing[method]
            if times is not None:
                if times <= 1:
                    del self._losing[method]
                else:
                    self._losing[method] = times - 1
            raise StoreAway("the test lost the store's answer")


def _checked(methods: tuple[str, ...]) -> frozenset[str]:
    assert set(methods) <= METHODS, f"a store has no such method: {set(methods) - METHODS}"
    return frozenset(methods) or METHODS
