"""``ObjectFiles`` for tests that are not async: its loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from rrd.objects.files import ObjectFiles
from rrd.objects.store import ObjectStore


@contextlib.contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def files_of(
    store: ObjectStore,
    *,
    cache_bytes_max: int = 64 << 20,
    deadline_s: float = 10.0,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[ObjectFiles]:
    """The objects of ``store``, to be read from any thread until the block ends."""
    with loop_in_a_thread() as loop:
        files = ObjectFiles(
            store, loop, cache_bytes_max=cache_bytes_max, deadline_s=deadline_s, monotonic=monotonic
        )
        try:
            yield files
        finally:
            asyncio.run_coroutine_threadsafe(_close(files), loop).result(10)


def settled(files: ObjectFiles) -> None:
    """Return when nothing is being fetched any more."""
    asyncio.run_coroutine_threadsafe(_all_others(), files._loop).result(10)


async def _close(files: ObjectFiles) -> None:
    files.close()
    await _all_others()


async def _all_others() -> None:
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # Their callbacks come after.
