"""What no stage counts, measured when it is shown: backlog, bytes kept, index, memory; and the loop's lag.

The console's box, a scrape of the metrics and ``rrd status`` all ask for it here, and get what is in
``metrics`` afterwards. One measurement at a time: who asks meanwhile waits for the same one, and no longer
than it likes to. So an index that is locked, or a disk that hangs, leaves the figures of a moment ago, and
``rrd_measured_age_seconds`` tells how long ago that was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from rrd import metrics
from rrd.clock import Clock
from rrd.index import home
from rrd.index.contract import Index
from rrd.index.rows import TenantRow
from rrd.log import emit

FRESH_S = 5.0
"""What was measured counts so long: several that ask cost no more than one."""

_BACKLOG_SHARE = 50
"""The index is asked for the backlog only as often as takes this share of its reader's time at most: it walks
through all that waits."""

_LOOK_INTERVAL_S = 0.25
"""How often the loop's lag is measured: some ten thousandths of its time."""

logger = logging.getLogger(__name__)


class Measures:
    """Measures one daemon. For the event loop only."""

    def __init__(self, data_dir: str, clock: Clock, index: Index) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._index = index
        self._under_way: asyncio.Task[None] | None = None
        self._began_at = float("-inf")
        self._taken_at = self._ask_backlog_at = clock.monotonic()
        self.tenants: list[TenantRow] = []
        """All that have anything stored, as they were measured last."""

    async def take(self, *, wait_s: float, fresh_s: float = FRESH_S) -> None:
        """Bring ``metrics`` up to date, unless that was done less than ``fresh_s`` seconds ago.

        After ``wait_s`` seconds it returns in any case.
        What goes wrong is logged. Cancelled, it leaves the measurement under way, for the next to ask.
        """
        now = self._clock.monotonic()
        if self._under_way is None and now - self._began_at >= fresh_s:
            self._began_at = now
            self._under_way = asyncio.create_task(self._measure())
            self._under_way.add_done_callback(self._done)
        if self._under_way is not None:
            await asyncio.wait([self._under_way], timeout=wait_s)
        metrics.MEASURED_AGE.set(self._clock.monotonic() - self._taken_at)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way = None
        if not task.cancelled() and (error := task.exception()) is not None:
            emit(logger, logging.WARNING, "not_measured", error=error)

    async def close(self) -> None:
        """Measure no more. Call it before the index closes."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait([self._under_way])

    async def _measure(self) -> None:
        """Raises ``RrdError``, ``OSError``."""
        index_bytes, memory_bytes = await asyncio.to_thread(self._look)
        metrics.INDEX_BYTES.set(index_bytes)
        metrics.MEMORY.set(memory_bytes)
        self.tenants = await self._index.tenants()
        metrics.BYTES_KEPT.set(sum(tenant.storage_bytes for tenant in self.tenants))
        await self._measure_backlog()
        self._taken_at = self._clock.monotonic()

    def _look(self) -> tuple[int, int]:
        return home.size_of(self._data_dir), resident_bytes()

    async def _measure_backlog(self) -> None:
        began_at = self._clock.monotonic()
        if began_at < self._ask_backlog_at:
            return
        backlog = await self._index.backlog()
        now = self._clock.monotonic()
        self._ask_backlog_at = now + (now - began_at) * _BACKLOG_SHARE
        oldest_ms = backlog.oldest_stored_ms
        age_ms = self._clock.now_ms() - oldest_ms if oldest_ms is not None else 0
        metrics.BACKLOG_SEGMENTS.set(backlog.segments)
        metrics.BACKLOG_BYTES.set(backlog.bytes)
        metrics.BACKLOG_AGE.set(max(0, age_ms // 1000))


def resident_bytes() -> int:
    """Return how much memory this process has now (proc_pid_status(5)); 0 where nothing tells."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/status", "rb") as file:
        line = next((line for line in file if line.startswith(b"VmRSS:")), b"")
        return int(line.split()[1]) * 1024
    return 0


async def watch_loop() -> None:
    """Measure how much later than asked for the loop wakes a task, until cancelled."""
    while True:
        asked_for = time.monotonic() + _LOOK_INTERVAL_S
        await asyncio.sleep(_LOOK_INTERVAL_S)
        metrics.LOOP_LAG.observe(max(0.0, time.monotonic() - asked_for))
