"""What freeing gives back to the system, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from rrd.daemon.memory import TRIM_BYTES

FAULTS = """
import resource, sys
from rrd.daemon.memory import set_up_malloc

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [b"x" * (300 << 10) for _ in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
set_up_malloc()
faults()
print(plain, faults())
"""


def test_what_is_freed_stays_at_hand() -> None:
    plain, after = map(int, subprocess.check_output([sys.executable, "-c", FAULTS]).split())
    assert after < plain / 10


HOLES = """
import asyncio, os
from rrd.daemon import memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def trim():
    memory.TRIM_INTERVAL_S = 0.01
    task = asyncio.create_task(memory.trim_malloc_in_time())
    await asyncio.sleep(0.5)
    task.cancel()

memory.set_up_malloc()
held = [b"x" * (1 << 20) for _ in range(200)]
before = resident()
del held[1::2]
after = resident()
asyncio.run(trim())
print(before - after, before - resident())
"""


def test_holes_in_the_heap_are_given_back_in_time() -> None:
    at_once, in_time = map(int, subprocess.check_output([sys.executable, "-c", HOLES]).split())
    assert at_once < TRIM_BYTES
    assert in_time > 90 << 20
