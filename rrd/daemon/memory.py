"""The C library's allocator, set up for a process that takes and gives back large pieces all the time."""

from __future__ import annotations

import asyncio
import ctypes

# mallopt(3); the numbers are those of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

MMAP_BYTES = 32 << 20
"""Pieces from this size on are mapped one by one, and go back as soon as they are free."""

TRIM_BYTES = 64 << 20
"""What is free at the heap's end goes back to the system at once only from here on. By default each block
gets fresh memory, which the system has to clear, and map page by page: a third of the time of
``form=stored``, a tenth of that of ingest and of JSON."""

TRIM_INTERVAL_S = 10.0
"""How long what is free may stay at hand. Large events leave holes in the middle of the heap, more of them
with time, and only ``malloc_trim`` gives these back. Whoever allocates waits for it: some milliseconds, 40
where 170 MB became free in pieces since."""

_libc = ctypes.CDLL(None)


def set_up_malloc() -> None:
    """Keep what is freed at hand, within bounds, and all threads in one arena.

    An arena a thread keeps each thread's worst case in memory, and rrd's threads hold the interpreter's lock
    whenever they allocate. To be called before threads are started. Without glibc it does nothing.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
    mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)


async def trim_malloc_in_time() -> None:
    """Give back what is free now and then, until cancelled."""
    trim = getattr(_libc, "malloc_trim", None)
    while True:
        await asyncio.sleep(TRIM_INTERVAL_S)
        if trim is not None:
            await asyncio.to_thread(trim, 0)
