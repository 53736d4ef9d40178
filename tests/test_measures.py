"""What is measured when it is shown: once for all that ask, and never waited for longer than they like."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rrd import metrics
from rrd.errors import IndexBusy
from rrd.index import home
from rrd.index.contract import Index
from rrd.index.rows import Backlog, TenantRow
from rrd.measures import FRESH_S, Measures, resident_bytes, watch_loop
from tests.harness import until
from tests.index.memory_index import MemoryIndex
from tests.wired import ManualClock


class SlowIndex(MemoryIndex):
    """Method: tells of its tenants only while ``lets`` is set, and fails with ``error`` if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.lets = asyncio.Event()
        self.error: Exception | None = None
        self.asked = self.backlogs = 0
        self.clock = ManualClock()

    async def backlog(self) -> Backlog:
        """Take two seconds, and tell how often it was asked."""
        self.backlogs += 1
        self.clock.seconds += 2.0
        return Backlog(self.backlogs, 4_000, self.clock.now_ms() - 90_000)

    async def tenants(self) -> list[TenantRow]:
        self.asked += 1
        await self.lets.wait()
        if self.error is not None:
            raise self.error
        return [TenantRow("acme", 2, 300), TenantRow("other", 1, 40)]


@pytest.fixture
async def index() -> AsyncIterator[SlowIndex]:
    async with SlowIndex() as slow:
        yield slow


def measures_of(index: Index, tmp_path: Path, clock: ManualClock) -> Measures:
    return Measures(str(tmp_path), clock, index)


async def test_several_that_ask_at_once_share_one_measurement(index: SlowIndex, tmp_path: Path) -> None:
    measures = measures_of(index, tmp_path, ManualClock())
    index.lets.set()
    await asyncio.gather(*(measures.take(wait_s=20) for _ in range(5)))
    assert index.asked == 1
    assert metrics.BYTES_KEPT.value == 340
    assert metrics.MEMORY.value > 10 << 20
    assert [row.name for row in measures.tenants] == ["acme", "other"]


async def test_a_figure_counts_for_a_moment(index: SlowIndex, tmp_path: Path) -> None:
    clock = ManualClock()
    measures = measures_of(index, tmp_path, clock)
    index.lets.set()
    for seconds, asked in ((0.0, 1), (FRESH_S / 2, 1), (FRESH_S, 2)):
        clock.seconds += seconds
        await measures.take(wait_s=20)
        assert index.asked == asked
    await measures.take(wait_s=20, fresh_s=0.0)
    assert index.asked == 3


async def test_an_index_that_hangs_leaves_the_last_figures_and_their_age(
    index: SlowIndex, tmp_path: Path
) -> None:
    clock = ManualClock()
    measures = measures_of(index, tmp_path, clock)
    index.lets.set()
    await measures.take(wait_s=20)
    index.lets.clear()
    for seconds in (60.0, 120.0):
        clock.seconds += 60.0
        await measures.take(wait_s=0.0)
        assert metrics.MEASURED_AGE.value == seconds
        assert metrics.BYTES_KEPT.value == 340
    await until(lambda: index.asked == 2, what="the index to be asked")
    clock.seconds += 60.0
    await measures.take(wait_s=0.0)
    assert index.asked == 2  # Nothing piles up behind what hangs.
    index.lets.set()
    await measures.take(wait_s=20)
    assert metrics.MEASURED_AGE.value == 0
    await measures.close()


async def test_a_backlog_is_told_and_asked_for_seldom_where_that_takes_long(
    index: SlowIndex, tmp_path: Path
) -> None:
    clock = ManualClock()
    index.lets.set()
    index.clock = clock
    measures = measures_of(index, tmp_path, clock)
    await measures.take(wait_s=20)
    assert (metrics.BACKLOG_SEGMENTS.value, metrics.BACKLOG_BYTES.value) == (1, 4_000)
    assert metrics.BACKLOG_AGE.value == 90
    asked = []
    for _ in range(30):  # The index takes two seconds for an answer: it is asked each hundred seconds.
        clock.seconds += 10.0
        await measures.take(wait_s=20)
        asked.append(metrics.BACKLOG_SEGMENTS.value)
    assert 3 <= max(asked) <= 5


async def test_a_failure_is_logged_and_tried_again(index: SlowIndex, tmp_path: Path) -> None:
    clock, logged = ManualClock(), metrics.LOGGED._values.get("not_measured", 0)
    measures = measures_of(index, tmp_path, clock)
    index.lets.set()
    index.error = IndexBusy("locked")
    await measures.take(wait_s=20)
    assert metrics.LOGGED._values["not_measured"] == logged + 1
    index.error, clock.seconds = None, clock.seconds + FRESH_S
    await measures.take(wait_s=20)
    assert index.asked == 2
    assert metrics.MEASURED_AGE.value == 0


async def test_a_stop_waits_for_no_measurement(index: SlowIndex, tmp_path: Path) -> None:
    measures = measures_of(index, tmp_path, ManualClock())
    await measures.take(wait_s=0.0)
    await measures.close()
    index.lets.set()
    assert measures.tenants == []


async def test_the_index_is_as_large_as_its_files(tmp_path: Path) -> None:
    index, _ = await home.open_index(str(tmp_path), home.open_file)
    async with index:
        await measures_of(index, tmp_path, ManualClock()).take(wait_s=20)
        sizes = [
            entry.stat().st_size
            for entry in os.scandir(tmp_path)
            if entry.name in {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm"}
        ]
        assert metrics.INDEX_BYTES.value == sum(sizes) > 0
    assert home.size_of(str(tmp_path / "nothing")) == 0


def test_the_memory_of_this_process_is_known() -> None:
    assert 10 << 20 < resident_bytes() < 10 << 30


async def test_the_lag_of_the_loop_is_measured() -> None:
    def count() -> float:
        return next(sample.value for sample in metrics.LOOP_LAG.samples() if sample.name.endswith("_count"))

    before = count()
    task = asyncio.create_task(watch_loop())
    await until(lambda: count() > before, what="the loop to be looked at")
    task.cancel()
