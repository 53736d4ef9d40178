"""What freeing gives back to the system, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys
from rrd.memory import set_up_malloc

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
