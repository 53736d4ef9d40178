"""Threads of low priority that are over before whoever is cancelled goes on."""

from __future__ import annotations

import asyncio
import os
import random
import threading

import pytest

from rrd.rollup.threads import NICE, Threads, WorkStopped, stoppable
from tests.harness import until
from tests.simdisk import SimDisk


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_only_its_own_threads_are_nice() -> None:
    mine = _niceness()
    threads = Threads(2, name="test", nice=NICE)
    assert await threads.run(_niceness) == max(mine, NICE)
    assert _niceness() == mine
    assert await asyncio.to_thread(_niceness) == mine
    threads.close()


async def test_whoever_is_cancelled_waits_for_the_thread_to_stop() -> None:
    threads = Threads(1, name="test")
    stop, begun, ended = threading.Event(), threading.Event(), threading.Event()
    may_end = threading.Event()

    def work() -> None:
        begun.set()
        stop.wait()
        may_end.wait()
        ended.set()
        raise WorkStopped("as asked")

    caller = asyncio.create_task(threads.run(work, stop=stop))
    await until(begun.is_set, what="the thread")
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
        assert not caller.done()
    assert stop.is_set()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()
    threads.close()


async def test_what_the_function_raises_comes_through() -> None:
    threads = Threads(1, name="test")
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)
    threads.close()


def test_a_stopped_disk_reads_and_writes_no_more_but_cleans_up() -> None:
    disk, stop = SimDisk(random.Random(0)), threading.Event()
    disk.make_dirs("/data")
    guarded = stoppable(disk, stop)
    handle = guarded.open_append("/data/file", create=True)
    guarded.write(handle, b"abc")
    assert guarded.read("/data/file", 0, 3) == b"abc"
    stop.set()
    with pytest.raises(WorkStopped):
        guarded.write(handle, b"def")
    with pytest.raises(WorkStopped):
        guarded.read("/data/file", 0, 3)
    guarded.close(handle)
    guarded.unlink("/data/file")
    assert disk.files() == {}
