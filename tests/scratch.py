"""Where tests put their files: in memory where there is room, since what they store is synced all the time.

A busy disk makes one file's tests two to ten times as long. What a test proves is the order of writes and
syncs, and what is left after a crash of the process: memory keeps that as a disk does, and power is cut off
simulated disks. A test that needs what only a disk has is marked ``disk``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

FREE_BYTES_MIN = 4 << 30
"""What a test stored goes when it has passed. The largest of the long ones stores 500 MB, twice over."""
MEMORY = Path("/dev/shm")


def fits(place: Path, *, free_bytes_min: int = FREE_BYTES_MIN) -> bool:
    """Say whether tests can work there: room enough, and programs may be run from it."""
    try:
        status = os.statvfs(place)
    except OSError:
        return False
    if status.f_flag & os.ST_NOEXEC or not os.access(place, os.W_OK | os.X_OK):
        return False
    return status.f_bavail * status.f_frsize >= free_bytes_min


def use_memory() -> None:
    """Let temporary files of this process, and of those that it starts, lie in memory.

    ``TMPDIR`` decides where it is set. Where there is little room the system's own place stays.
    """
    if "TMPDIR" not in os.environ and fits(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # It is looked up once.


def on_disk() -> Path:
    """Return where the system puts what outlives a restart, whichever place ``TMPDIR`` names."""
    return Path("/var/tmp")
