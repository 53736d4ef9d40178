"""Local copies go when they should, and nothing else ever does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rrd.config import Config
from rrd.rollup.evict import Evicted, Evictor, keep_local_ms
from rrd.rollup.worker import empty_rolling_dir
from tests.harness import eventually, until
from tests.rollup.rollup_lab import DATA, TENANT, A, B, C, Lab, event, lab, settings
from tests.simdisk import SimDisk

DAY_S = 86_400


@contextlib.asynccontextmanager
async def at_work(evictor: Evictor) -> AsyncIterator[None]:
    task = asyncio.create_task(evictor.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def kept(folder: Path, *recordings: str, disk: SimDisk | None = None) -> AsyncIterator[Lab]:
    """A life with recordings that were rolled up an hour after each other, and are still here."""
    async with lab(folder, settings(keep_local_s=DAY_S), disk=disk) as life:
        for recording_id in recordings:
            await life.fill(recording_id)
            await life.rollup.drain()
            life.clock.seconds += 3600
            assert set(await life.states(recording_id)) == {"rolled"}
        yield life


def test_with_a_local_store_nothing_is_kept_twice() -> None:
    assert keep_local_ms(Config(object_store="local", keep_local_s=5)) == 0
    assert keep_local_ms(Config(object_store="s3", keep_local_s=5)) == 5000


async def test_copies_stay_as_long_as_they_are_to_be_kept(tmp_path: Path) -> None:
    async with kept(tmp_path, A, B) as life:
        life.clock.seconds += DAY_S - 2.5 * 3600
        assert await life.evictor.evict_now(everything=False) == Evicted(0, 0)
        life.clock.seconds += 3600
        async with at_work(life.evictor):

            async def is_gone() -> bool:
                return not await life.states(A)

            await eventually(is_gone, what="the older one to go")
        assert set(await life.states(B)) == {"rolled"}
        await life.check(rolled_up=False)
        life.clock.seconds += 3600
        await life.evictor.evict_now(everything=False)
        await life.check(rolled_up=True)


async def test_what_is_not_published_is_never_evicted(tmp_path: Path) -> None:
    async with kept(tmp_path, A) as life:
        await life.fill(A)
        await life.fill(B)
        await life.send(B, [event(999)])
        row = await life.row(B)
        await life.index.plan_object(row.row_id, 1, 1)
        evicted = await life.evictor.evict_now(everything=True)
        assert evicted.objects == 1
        assert evicted.size > 0
        assert set(await life.states(A)) == {"sealed"}
        assert set(await life.states(B)) == {"sealed", "active"}
        await life.check(rolled_up=False)


async def test_while_the_disk_is_low_the_oldest_go_until_there_is_room(tmp_path: Path) -> None:
    async with kept(tmp_path, A, B, C) as life:
        youngest = {path for path in life.sealed_files() if C in path}

        def is_low() -> bool:
            return any(B in path for path in life.sealed_files())

        # The daemon's own looks at the real disk.
        parts = life.config, life.disk, life.index, life.claims, life.clock
        evictor = Evictor(*parts, store=life.parts.store, is_low=is_low)
        async with at_work(evictor):
            await until(lambda: not is_low(), what="room")
        evictor.close()
        assert life.sealed_files() == youngest
        await life.check(rolled_up=False)


async def test_what_is_being_read_or_claimed_stays_for_now(tmp_path: Path) -> None:
    async with kept(tmp_path, A, B, C) as life:
        async with life.claims.exclusive(TENANT, B):
            with life.claims.reading(TENANT, A):
                assert (await life.evictor.evict_now(everything=True)).objects == 1
        assert [set(await life.states(recording_id)) for recording_id in (A, B, C)] == [
            {"rolled"},
            {"rolled"},
            set(),
        ]
        assert (await life.evictor.evict_now(everything=True)).objects == 2
        await life.check(rolled_up=True)


async def test_a_second_entry_that_sealing_left_behind_goes_too(tmp_path: Path) -> None:
    async with kept(tmp_path, A) as life:
        path = min(life.sealed_files())
        tenant, _, name = path.removeprefix(f"{DATA}/sealed/").split("/")
        life.disk.put(f"{DATA}/active/{tenant}.{name}", life.disk.files()[path])
        await life.evictor.evict_now(everything=True)
        life.disk.power_cut()
        empty_rolling_dir(life.disk, DATA)
        await life.check(rolled_up=True)


async def test_copies_that_are_gone_already_are_no_trouble(tmp_path: Path) -> None:
    async with kept(tmp_path, A) as life:
        life.disk.unlink(min(life.sealed_files()))
        assert (await life.evictor.evict_now(everything=True)).objects == 1
        await life.check(rolled_up=True)


async def test_a_file_that_cannot_be_deleted_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with kept(tmp_path, A, B) as life:
        for _ in range(3):
            life.disk.fail_at(life.disk.operations, errno.EROFS)
            evicted = await life.evictor.evict_now(everything=True)
            assert set(await life.states(A)) == {"rolled"}
        assert evicted.objects == 0
        told = [record for record in caplog.records if "evict_failed" in record.getMessage()]
        assert len(told) == 1
        await life.evictor.evict_now(everything=True)
        await life.check(rolled_up=True)
