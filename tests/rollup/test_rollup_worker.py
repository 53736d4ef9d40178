"""What is due is rolled up, and what can't be doesn't hold up the rest."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rrd import metrics
from rrd.errors import CorruptSegment, ObjectRejected, StoreAway
from rrd.segment.table import read_table
from tests.harness import eventually, until
from tests.rollup.rollup_lab import (
    DATA,
    TENANT,
    A,
    B,
    C,
    Lab,
    check_batch,
    event,
    key_of,
    lab,
    settings,
)
from tests.simdisk import SimDisk
from tests.sources import close_source, open_source
from tests.wired import numbered_id


def failures(reason: str) -> float:
    """Return how many tries to roll up have failed for this reason, in this process."""
    return sum(sample.value for sample in metrics.ROLL_UPS_FAILED.samples() if sample.label == reason)


@contextlib.asynccontextmanager
async def at_work(life: Lab) -> AsyncIterator[None]:
    """Have the task run, and end it as a daemon does."""
    task = asyncio.create_task(life.rollup.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_sealed_segments_become_one_object_and_leave(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A, B)
        assert len(await life.states(A)) > 1
        await life.check(rolled_up=False)
        await life.rollup.drain()
        await life.check(rolled_up=True)
        assert [len(await life.published(recording_id)) for recording_id in (A, B)] == [1, 1]
        assert life.sealed_files() == set()


async def test_a_recording_goes_on_after_its_roll_up(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        for _ in range(3):
            await life.fill(A)
            await life.rollup.drain()
        await life.check(rolled_up=True)
        published = await life.published(A)
        assert [each.first_seq for each in published] == [1, 13, 25]


async def test_an_active_segment_is_never_touched(tmp_path: Path) -> None:
    async with lab(tmp_path, settings(segment_bytes_max=1 << 20)) as life:
        await life.fill(A)
        await life.send(A, [event(500), event(501)])
        await life.rollup.drain()
        assert await life.states(A) == ["active"]
        await life.check(rolled_up=False)
        await life.send(A, [event(502)])
        await life.rest()
        await life.rollup.drain()
        await life.check(rolled_up=True)


async def test_metadata_and_bad_lines_alone_become_an_object_too(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        for bad in (b"not json", b"nor this"):
            await life.send(A, [bad])
            await life.rest()
            await life.rollup.drain()
        await life.check(rolled_up=True)
        assert len(life.store.objects) == 2
        assert [
            row.object is not None for row in await life.index.quarantine(tenant=None, recording_id=None)
        ] == [
            True,
            True,
        ]


async def test_nothing_is_due_before_the_delay_unless_it_is_full(tmp_path: Path) -> None:
    async with lab(tmp_path, settings(segment_bytes_max=1 << 20)) as life:
        await life.fill(A)
        async with at_work(life):
            await life.fill(B, count=3, pad=900_000)
            life.rollup.nudged.set()
            await until(lambda: life.store.objects, what="the full one")
            assert await life.states(A) == ["sealed"]
            life.clock.seconds += 301
            life.rollup.nudged.set()
            await eventually(life.is_done, what="the one that was let settle")
        await life.check(rolled_up=True)


async def test_blocks_of_senders_who_are_still_there_are_kept_apart(tmp_path: Path) -> None:
    async with lab(tmp_path, settings(rollup_block_bytes=1 << 20)) as life:
        here = await open_source(life.registry, TENANT, A)
        for number in range(3):
            here.put(check_batch(event(10 * number)))
            await here.flush()
            life.acked[A].append(event(10 * number))
            await life.send(A, [event(10 * number + 5)])
        await life.rest()
        await life.rollup.drain()
        row = await life.row(A)
        (each,) = row.objects
        life.disk.put("/object", life.store.objects[key_of(row, each)])
        _, headers = read_table(life.disk, "/object", each.size)
        assert [header.source == here.id for header in headers if header.event_count] == [True, False] * 3
        await close_source(here)
        await life.rest()
        await life.check(rolled_up=True)


# The store away


async def test_while_the_store_is_away_segments_wait_and_then_drain_oldest_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with lab(tmp_path, settings(rollup_delay_s=0)) as life:
        life.store.fail()
        await life.fill(A)
        failed = failures("object_store_away")
        async with at_work(life):
            await until(lambda: life.store.calls["check"] > 3, what="probes")
            assert metrics.STORE_AWAY.value == 1
            assert failures("object_store_away") >= failed + 3
            await life.fill(B, C)
            # The store is asked, and nothing is packed in vain.
            assert life.store.calls["size"] == 1
            assert life.store.calls["put"] == 0
            await life.check(rolled_up=False)
            life.store.heal()
            await eventually(life.is_done, what="the backlog to drain")
            await until(lambda: "object_store_back" in caplog.text, what="its own word on that")
            assert metrics.STORE_AWAY.value == 0
        keys = [
            key_of(await life.row(recording_id), (await life.published(recording_id))[0])
            for recording_id in (A, B, C)
        ]
        assert life.store.put_keys == keys
        await life.check(rolled_up=True)
    told = [record.getMessage() for record in caplog.records if "object_store_" in record.getMessage()]
    assert [line.split()[0] for line in told] == ["object_store_away", "object_store_back"]
    assert "waiting_segments=" in told[1]


async def test_a_store_that_can_be_reached_and_takes_nothing_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with lab(tmp_path, settings(rollup_delay_s=0, rollup_tasks=3)) as life:
        life.store.fail("put")
        await life.fill(A, B, C)
        async with at_work(life):
            await until(lambda: life.store.calls["put"] > 6, what="probes")
            # One probe is one put: what was due at the same moment as the first counts once each.
            assert life.store.calls["put"] <= life.store.calls["check"] + 3
        await life.check(rolled_up=False)
    told = [record.getMessage() for record in caplog.records if "object_store_" in record.getMessage()]
    assert len(told) == 1


async def test_when_the_store_goes_away_nothing_more_is_begun(tmp_path: Path) -> None:
    async with lab(tmp_path, settings(rollup_tasks=2)) as life:
        await life.fill(*(numbered_id(number) for number in range(6)), count=2)
        life.store.fail("put")
        with pytest.raises(StoreAway):
            await life.rollup.drain()
        assert life.store.calls["put"] <= 2


async def test_a_store_that_is_silent_ends_in_its_deadline_and_holds_up_nobody_else(tmp_path: Path) -> None:
    async with lab(tmp_path, settings(keep_local_s=1)) as life:
        await life.fill(A)
        await life.rollup.drain()
        life.store.hang("put")
        life.store.deadline_s = 0.2
        await life.fill(B)
        drain = asyncio.create_task(life.rollup.drain())
        await until(lambda: life.store.waiting, what="a put that hangs")
        # Meanwhile events come in, others are read, evicted, claimed.
        await life.send(C, [event(1)])
        life.clock.seconds += 2
        assert (await life.evictor.evict_now(everything=False)).objects == 1
        async with life.claims.exclusive(TENANT, A):
            pass
        with pytest.raises(StoreAway):
            await drain
        life.store.heal()
        await life.rest()
        await life.rollup.drain()
        life.clock.seconds += 2
        await life.evictor.evict_now(everything=False)
        await life.check(rolled_up=True)


# What stops one recording


def damage(life: Lab, recording_id: str) -> str:
    path = min(path for path in life.sealed_files() if recording_id in path)
    data = bytearray(life.disk.files()[path])
    data[len(data) // 2] ^= 1
    life.disk.put(path, bytes(data))
    return path


async def test_a_damaged_recording_is_set_aside_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with lab(tmp_path, settings(rollup_delay_s=0)) as life:
        await life.fill(A, B, C)
        whole = life.disk.files()
        path, failed = damage(life, B), failures("corrupt_segment")
        async with at_work(life):
            await until(lambda: len(life.store.objects) == 2, what="the others")
            assert metrics.RECORDINGS_SET_ASIDE.value == 1
            assert failures("corrupt_segment") == failed + 1
            for seconds in (3000, 700):
                # Before the hour is over, and after: said once, and then tried again in silence.
                life.clock.seconds += seconds
                # The youngest of them: the damaged one's turn comes before it.
                await life.fill(C)
                count = life.store.calls["put"]
                life.rollup.nudged.set()
                await until(lambda count=count: life.store.calls["put"] > count, what="another round")  # type: ignore[misc]  # a default only binds
            told = [record for record in caplog.records if "not_rolled_up" in record.getMessage()]
            assert len(told) == 1
            assert B in told[0].getMessage()
            assert "rrd verify" in told[0].getMessage()
        with pytest.raises(CorruptSegment):
            await life.rollup.drain()
        life.disk.put(path, whole[path])
        await life.rollup.drain()
        await life.check(rolled_up=True)


async def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A, B)
        life.disk.unlink(min(life.sealed_files()))
        with pytest.raises(CorruptSegment, match="gone"):
            await life.rollup.drain()
        assert [len(await life.published(recording_id)) for recording_id in (A, B)] == [0, 1]


async def test_what_a_store_rejects_is_that_recordings_trouble(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A, B)
        life.store.fail("put", error=ObjectRejected("not what was sent"), times=1)
        with pytest.raises(ObjectRejected):
            await life.rollup.drain()
        assert [len(await life.published(recording_id)) for recording_id in (A, B)] == [0, 1]
        await life.rollup.drain()
        await life.check(rolled_up=True)


async def test_no_error_whatever_ends_the_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with lab(tmp_path, settings(rollup_delay_s=0)) as life:
        await life.fill(A, B)
        life.store.fail("put", error=ZeroDivisionError("a bug"), times=1)
        async with at_work(life):
            await until(lambda: life.store.objects, what="the other one")
            life.clock.seconds += 3601
            life.rollup.nudged.set()
            await eventually(life.is_done, what="the second try")
        assert any(record.exc_info for record in caplog.records)
        await life.check(rolled_up=True)


# The disk full


class FullDisk(SimDisk):
    """No room for objects being made while there are more than ``files_max`` sealed segments."""

    files_max = 1 << 30

    def write(self, handle: int, data: bytes) -> None:
        if len([path for path in self.files() if "/sealed/" in path]) > self.files_max:
            path = next(path for path, file in self._entries.items() if file is self._opened(handle))
            if "/rolling/" in path:
                raise OSError(errno.ENOSPC, "No space left on device", path)
        super().write(handle, data)


async def test_a_full_disk_makes_room_by_eviction_and_goes_on(tmp_path: Path) -> None:
    disk = FullDisk()
    async with lab(tmp_path, settings(keep_local_s=86_400), disk=disk) as life:
        await life.fill(A)
        await life.rollup.drain()
        assert set(await life.states(A)) == {"rolled"}
        await life.fill(B)
        disk.files_max = len([path for path in life.sealed_files() if B in path])
        await life.rollup.drain()
        assert await life.states(A) == []
        assert set(await life.states(B)) == {"rolled"}
        await life.check(rolled_up=False)


async def test_a_disk_that_stays_full_loses_nothing_and_is_told_once_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk()
    async with lab(tmp_path, settings(rollup_delay_s=0), disk=disk) as life:
        await life.fill(A, B)
        disk.files_max = 0
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                await life.rollup.drain()
        assert life.store.objects == {}
        # It ends there: each of the others would fill the disk in its turn.
        assert not any(B in record.getMessage() for record in caplog.records)
        async with at_work(life):
            await until(
                lambda: any(B in record.getMessage() for record in caplog.records), what="a word on B"
            )
            disk.files_max = 1 << 30
            life.clock.seconds += 61
            life.rollup.nudged.set()
            await eventually(life.is_done, what="both")
        await life.check(rolled_up=True)
    told = [record.getMessage() for record in caplog.records if "not_rolled_up" in record.getMessage()]
    assert len(told) == 2
    assert all("free some" in line for line in told)


# Sealing that is half done


async def test_an_object_is_made_only_of_segments_whose_sealing_survives_a_power_cut(tmp_path: Path) -> None:
    for seed in range(8):
        disk = SimDisk(random.Random(seed))
        async with lab(tmp_path, settings(keep_local_s=60), disk=disk) as life:
            await life.fill(A, count=2)
            (path,) = life.sealed_files()
            aside = f"{DATA}/active/{TENANT}.{path.rpartition('/')[2]}"
            disk.rename(path, aside)
            disk.sync_dir(f"{DATA}/active")
            disk.sync_dir(path.rpartition("/")[0])
            drain = asyncio.create_task(life.rollup.drain())
            await until(lambda: life.claims._locks, what="the roll-up to look for it")
            # Waited for, since the index knew of it first. Moved now, and not on disk yet.
            disk.rename(aside, path)
            await drain
            assert life.store.objects
            disk.power_cut()
            assert path in disk.files()


# Others who are at the same recording


async def test_a_recording_erased_while_it_waits_for_its_turn_leaves_nothing_behind(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A, B)
        async with life.claims.exclusive(TENANT, A):
            drain = asyncio.create_task(life.rollup.drain())
            await until(lambda: (TENANT, A) in life.claims._locks, what="the roll-up to ask")
            await life.index.remove(TENANT, A)
            for path in life.sealed_files():
                if A in path:
                    life.disk.unlink(path)
        await drain
        del life.acked[A]
        await life.check(rolled_up=True)


async def test_an_erasure_waits_for_one_object_at_most(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A)
        life.store.hang("put")
        drain = asyncio.create_task(life.rollup.drain())
        await until(lambda: life.store.waiting, what="a put")
        claim = asyncio.create_task(_claim(life))
        await asyncio.sleep(0)
        assert not claim.done()
        life.store.heal()
        await claim
        await drain
        await life.check(rolled_up=True)


async def _claim(life: Lab) -> None:
    async with life.claims.exclusive(TENANT, A):
        pass


@pytest.mark.parametrize("steps", [*range(0, 60, 6), *range(60, 400, 60)])
async def test_cancelled_at_any_moment_nothing_is_half_published(tmp_path: Path, steps: int) -> None:
    async with lab(tmp_path, settings(rollup_tasks=2)) as life:
        await life.fill(A, B)
        drain = asyncio.create_task(life.rollup.drain())
        for _ in range(steps):
            await asyncio.sleep(0)
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
        assert not life.claims._locks
        assert not [path for path in life.disk.files() if path.startswith(f"{DATA}/rolling")]
        await life.check(rolled_up=False)
        await life.rollup.drain()
        await life.check(rolled_up=True)


async def test_two_drains_at_once_make_everything_once(tmp_path: Path) -> None:
    async with lab(tmp_path, settings(rollup_tasks=2)) as life:
        await life.fill(A, B, C)
        await asyncio.gather(life.rollup.drain(), life.rollup.drain())
        assert life.store.calls["put"] == 3
        await life.check(rolled_up=True)


async def test_what_is_sealed_is_looked_at_without_waiting_for_the_next_poll(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.send(A, [event(1)])
        life.rollup.nudged.clear()
        await life.rest()
        await until(life.rollup.nudged.is_set, what="sealing to nudge the roll-up")
        assert await life.states(A) == ["sealed"]
