"""The disk's reserve, and whether the data directory is still there: else new events are refused.

Near the reserve they are refused early and clearly, and everything else goes on.

A disk that is really full stops more than ingest: the index can't note what roll-up, retention and erasure
did, so nothing can make room any more. The reserve is the room that those work in.

A directory that was deleted, moved or unmounted goes on to take what is written to open files, and keeps
nothing of it. So its files are compared with those that were opened, by device and inode.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

from rrd import layout, metrics
from rrd.errors import DataDirGone, DiskFull, RefusedError
from rrd.index import home
from rrd.log import emit

POLL_INTERVAL_S = 0.25

_STALE_S = 0.01
"""Whoever asks later than this after the last look has the disk looked at again, which takes microseconds:
a small disk could be full before the next poll."""

logger = logging.getLogger(__name__)


def free_bytes(path: str) -> int:
    """Return how many bytes may still be written to the file system of ``path``. Raises ``OSError``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize  # f_bfree would count what only root may use.


class DataDirectory:
    """A data directory as it was when it was opened."""

    def __init__(self, data_dir: str) -> None:
        """Remember the directory, its lock and its index, as far as they are there."""
        paths = (data_dir, layout.lock_path(data_dir), home.index_path(data_dir))
        self._known = {path: known for path in paths if (known := _identity(path)) is not None}

    def is_same(self) -> bool:
        """Tell whether all of them are still there. Some microseconds."""
        return all(_identity(path) == known for path, known in self._known.items())


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Guard:
    """Watches the disk that holds ``path``. Answers are from memory, a moment old at most while some ask."""

    def __init__(
        self,
        path: str,
        reserve_bytes: int,
        disk_free: Callable[[str], int] = free_bytes,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        place: DataDirectory | None = None,
    ) -> None:
        """``reserve_bytes``: what is kept free; 0 for none. ``place``: what must stay the same."""
        self._place = place
        self._is_gone = False
        self._path = path
        self._reserve_bytes = reserve_bytes
        self._disk_free = disk_free
        self._monotonic = monotonic
        self._free_bytes: int | None = None
        self._refuses = False
        self._is_blind = False
        self.poll()

    def reconfigure(self, reserve_bytes: int) -> None:
        """Keep so many bytes free from now on."""
        self._reserve_bytes = reserve_bytes
        self.poll()

    def refusal(self) -> RefusedError | None:
        """Return why nothing new is taken now, a fresh error to be raised; None while there is room."""
        if self._monotonic() - self._polled_at > _STALE_S:
            self.poll()
        if self._is_gone:
            return DataDirGone(
                "the data directory is not the one that was opened: it was deleted, moved or unmounted, so "
                "new events are refused; put it back, or restart rrd"
            )
        if not self._refuses:
            return None
        return DiskFull("the disk is nearly full, so new events are refused for now; send them again later")

    def is_low(self) -> bool:
        """Tell whether less than twice the reserve is free: time to let go of what may go."""
        return self._free_bytes is not None and self._free_bytes < 2 * self._reserve_bytes

    def poll(self) -> None:
        """Look at the disk. While it can't be looked at, what was seen last counts."""
        self._polled_at = self._monotonic()
        self._look_at_place()
        try:
            free = self._disk_free(self._path)
        except OSError as error:
            if not self._is_blind:
                emit(logger, logging.ERROR, "disk_not_watched", path=self._path, error=error)
            self._is_blind = True
            return
        self._is_blind = False
        self._free_bytes = free
        metrics.DISK_FREE.set(free)
        # Not at the same mark in both directions: each block written and each file removed would turn it.
        mark = self._reserve_bytes + self._reserve_bytes // 10 if self._refuses else self._reserve_bytes
        refuses = free < mark
        if refuses and not self._refuses:
            emit(
                logger, logging.WARNING, "disk_reserve_reached", free_bytes=free,
                reserve_bytes=self._reserve_bytes,
                next_step="new events get 507 until there is room; see rrd retention, or add disk",
            )  # fmt: skip
        elif self._refuses and not refuses:
            emit(
                logger,
                logging.INFO,
                "disk_has_room_again",
                free_bytes=free,
                reserve_bytes=self._reserve_bytes,
            )
        self._refuses = refuses

    def _look_at_place(self) -> None:
        is_gone = self._place is not None and not self._place.is_same()
        if is_gone and not self._is_gone:
            emit(
                logger, logging.CRITICAL, "data_dir_gone", path=self._path,
                next_step="put it back, or restart rrd; new events get 503 until then",
            )  # fmt: skip
        elif self._is_gone and not is_gone:
            emit(logger, logging.WARNING, "data_dir_back", path=self._path)
        self._is_gone = is_gone

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            self.poll()
