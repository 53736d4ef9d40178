"""Threads for work that nobody waits for: low priority, and over before its caller is.

Packing takes a core for minutes. Left to the scheduler it would take turns with the threads that write and
sync blocks, and acks would wait for it; a higher nice value gives it what they leave (Linux has one for
each thread, see NOTES in setpriority(2)).

A caller that is cancelled while its thread works gives up its claim on the recording. So it waits for the
thread first, which is told to stop and does so within a block.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from rrd.disk.disk import Disk

NICE = 10
"""A thread at nice 10 gets about a tenth of a core that another one at 0 wants whole (sched(7))."""

_T = TypeVar("_T")


class Threads:
    """A few threads of one's own. ``close`` ends them when they are idle."""

    def __init__(self, count: int, *, name: str, nice: int = 0) -> None:
        self._pool = ThreadPoolExecutor(
            count, thread_name_prefix=name, initializer=_be_nice, initargs=(nice,)
        )

    async def run(self, function: Callable[..., _T], *args: Any, stop: threading.Event | None = None) -> _T:
        """Return ``function(*args)``, called in one of the threads.

        Cancelled, it sets ``stop`` and raises ``CancelledError`` once the function has returned, however
        often it is cancelled meanwhile.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if stop is not None:
                stop.set()
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            if not future.cancelled():
                future.exception()  # Looked at, so that asyncio doesn't complain that nobody did.
            raise

    def close(self) -> None:
        """Start nothing any more."""
        self._pool.shutdown(wait=False)


class WorkStopped(Exception):
    """The caller was cancelled, so the thread stopped in the middle."""


def stoppable(disk: Disk, stop: threading.Event) -> Disk:
    """Return ``disk``, but reads and writes raise ``WorkStopped`` once ``stop`` is set."""
    # Everything else is the disk's own.
    return cast(Disk, _StoppableDisk(disk, stop))


class _StoppableDisk:
    def __init__(self, disk: Disk, stop: threading.Event) -> None:
        self._disk = disk
        self._stop = stop

    def read(self, path: str, offset: int, size: int) -> bytes:
        self._check()
        return self._disk.read(path, offset, size)

    def write(self, handle: int, data: bytes) -> None:
        self._check()
        self._disk.write(handle, data)

    def _check(self) -> None:
        if self._stop.is_set():
            raise WorkStopped("the caller was cancelled")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)


def _be_nice(nice: int) -> None:
    # Of this thread alone, though the call says "process". Going down again would need a privilege.
    nice = max(nice, os.getpriority(os.PRIO_PROCESS, 0))
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
