"""Group commit when things go wrong or run full: backpressure, a full disk, a failing index or lookup."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from rrd import metrics
from rrd.errors import DiskFull, StorageFailed
from rrd.index.rows import Commit
from rrd.recordings.source import Source, Tally
from rrd.recordings.states import UNDER_WAY
from tests.harness import until
from tests.power.machine import Life, Put, Rest, check, config, disk_of, lived, survivors
from tests.samples import batch, event
from tests.simdisk import SimDisk
from tests.sources import open_source
from tests.wired import TENANT, LaggingIndex, numbered_id

A, B = numbered_id(0), numbered_id(1)


class GatedDisk(SimDisk):
    """Writes, or reads, wait until the gate is open."""

    def __init__(self) -> None:
        super().__init__(random.Random(0))
        self.writes = threading.Event()
        self.reads = threading.Event()
        self.writes.set()
        self.reads.set()
        self.read_count = 0
        self.read_error: BaseException | None = None

    def write(self, handle: int, data: bytes) -> None:
        assert self.writes.wait(20)
        super().write(handle, data)

    def read(self, path: str, offset: int, size: int) -> bytes:
        assert self.reads.wait(20)
        self.read_count += 1
        if self.read_error is not None:
            raise self.read_error
        return super().read(path, offset, size)


class FailingIndex(LaggingIndex):
    """Refuses so many transactions to come."""

    failures_left = 0

    async def apply(self, commits: Sequence[Commit]) -> None:
        if commits and self.failures_left:
            self.failures_left -= 1
            raise StorageFailed("the index can't be written")
        await super().apply(commits)


async def _source(life: Life, recording_id: str = A) -> Source:
    return await open_source(life.registry, TENANT, recording_id)


_send = Life.post


async def _turns(count: int = 50) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


def _is_clean(life: Life) -> bool:
    recordings = life.registry._recordings.values()
    return life.registry.waiting.bytes == 0 and not any(
        recording.state in UNDER_WAY or recording.pending_bytes for recording in recordings
    )


@pytest.mark.parametrize("limit", ["recording_buffer_bytes_max", "buffer_bytes_max"])
async def test_a_sender_waits_while_there_is_no_room_and_goes_on_when_there_is(
    tmp_path: Path, limit: str
) -> None:
    disk = GatedDisk()
    settings = msgspec.structs.replace(config(), **{limit: 1000})
    async with lived(disk, settings, tmp_path, None) as life:
        source = await _source(life)
        disk.writes.clear()
        source.put(batch(event(1, pad=700)))
        await asyncio.wait_for(source.room(), 20)
        source.put(batch(event(2, pad=700)))
        waiting = asyncio.create_task(source.room())
        await _turns()
        assert not waiting.done()
        disk.writes.set()
        await asyncio.wait_for(waiting, 20)
        assert await source.flush() == Tally(stored=2)
        assert _is_clean(life)


async def test_one_full_recording_does_not_hold_up_others(tmp_path: Path) -> None:
    disk = GatedDisk()
    settings = msgspec.structs.replace(config(), recording_buffer_bytes_max=1000)
    async with lived(disk, settings, tmp_path, None) as life:
        full, other = await _source(life, A), await _source(life, B)
        disk.writes.clear()
        full.put(batch(event(1, pad=2000)))
        other.put(batch(event(1)))
        await asyncio.wait_for(other.room(), 20)
        disk.writes.set()
        assert await full.flush() == await other.flush() == Tally(stored=1)


async def test_a_full_disk_refuses_and_takes_events_again_once_it_has_room(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0))
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        failed = metrics.BLOCKS_FAILED.value
        disk.fail_at(disk.operations, errno.ENOSPC)
        with pytest.raises(DiskFull):
            await _send(life, event(2))
        assert metrics.BLOCKS_FAILED.value == failed + 1
        assert _is_clean(life)
        assert await _send(life, event(1), event(2)) == Tally(stored=1, duplicates=1)
        row = await life.index.recording(TENANT, A)
        assert row is not None
        assert [segment.number for segment in row.segments] == [1]


async def test_after_a_failed_sync_the_segment_is_not_used_again(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0))
    settings = config(sync="each")
    async with lived(disk, settings, tmp_path, None) as life:
        await _send(life, event(1))
        disk.fail_at(disk.operations + 1, errno.EIO)
        with pytest.raises(StorageFailed):
            await _send(life, event(2))
        assert await _send(life, event(2)) == Tally(stored=1)
        row = await life.index.recording(TENANT, A)
        assert row is not None
        assert [segment.number for segment in row.segments] == [1, 2]
        assert row.next_seq == 3
        assert _is_clean(life)


async def test_what_a_failed_group_held_of_others_is_stored(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0))
    async with lived(disk, config(), tmp_path, None) as life:
        one, other = await _source(life, A), await _source(life, B)
        disk.fail_at(disk.operations + 1, errno.ENOSPC)
        one.put(batch(event(1)))
        other.put(batch(event(1)))
        outcomes = await asyncio.gather(one.flush(), other.flush(), return_exceptions=True)
        assert isinstance(outcomes[0], DiskFull)
        assert outcomes[1] == Tally(stored=1)


async def test_a_tally_ends_where_the_first_failure_was(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0))
    async with lived(disk, config(), tmp_path, None) as life:
        source = await _source(life)
        source.put(batch(event(1)))
        await source.flush()
        disk.fail_at(disk.operations, errno.ENOSPC)
        source.put(batch(event(2)))
        with pytest.raises(DiskFull):
            await source.flush()
        # Its sender takes the tally for its first so many lines, and line 2 is missing among them.
        source.put(batch(event(3)))
        with pytest.raises(DiskFull):
            await source.flush()
        assert source.tally == Tally(stored=1)


@contextlib.asynccontextmanager
async def _failing(disk: SimDisk, folder: Path) -> AsyncIterator[tuple[Life, FailingIndex]]:
    async with lived(disk, config(), folder, None, index=FailingIndex) as life:
        assert isinstance(life.index, FailingIndex)
        yield life, life.index


async def test_nothing_is_acked_that_the_index_did_not_take(tmp_path: Path) -> None:
    async with _failing(SimDisk(random.Random(0)), tmp_path) as (life, index):
        index.failures_left = 2
        for _ in range(2):
            with pytest.raises(StorageFailed):
                await _send(life, event(1), event(2))
            assert await index.recording(TENANT, A) is None
        # The block is on disk all the while: sent again, its lines are repeats, and now the index knows them.
        assert await _send(life, event(1), event(2), event(3)) == Tally(stored=1, duplicates=2)
        row = await index.recording(TENANT, A)
        assert row is not None
        assert row.next_seq == 4
        assert _is_clean(life)


async def test_repeats_of_a_block_unknown_to_the_index_are_not_acked_before_it_is_known(
    tmp_path: Path,
) -> None:
    async with _failing(SimDisk(random.Random(0)), tmp_path) as (life, index):
        index.failures_left = 2
        for _ in range(2):
            with pytest.raises(StorageFailed):
                await _send(life, event(1))
        assert await _send(life, event(1)) == Tally(duplicates=1)
        assert await index.recording(TENANT, A) is not None


async def test_a_recording_is_not_sealed_while_the_index_lacks_blocks_of_it(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0))
    async with _failing(disk, tmp_path) as (life, index):
        await life.run([Put(0, (event(1),))])
        source, _ = life._open[0]
        await source.flush()
        index.failures_left = 2
        await life.run([Put(0, (event(2),))])
        with pytest.raises(StorageFailed):
            await source.flush()
        await life._close(0)
        await life.run([Rest()])
        assert index.failures_left == 0
        assert any("/active/" in path for path in disk.files())
        await life.run([Rest()])
        assert not any("/active/" in path for path in disk.files())
        await check(life, life.accounts)
        row = await index.recording(TENANT, A)
        assert row is not None
        assert row.next_seq == 3
        assert await _send(life, event(3)) == Tally(stored=1)


async def test_a_block_unknown_to_the_index_is_found_by_the_next_start(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0))
    async with _failing(disk, tmp_path) as (life, index):
        index.failures_left = 1
        with pytest.raises(StorageFailed):
            await _send(life, event(1))
        states = index.states
    async with lived(disk_of(survivors(disk)), config(), tmp_path, states[-1]) as again:
        assert again.recovered.blocks == 1
        assert await _send(again, event(1), event(2)) == Tally(stored=1, duplicates=1)


async def test_events_younger_than_all_others_need_no_lookup(tmp_path: Path) -> None:
    disk = GatedDisk()
    async with lived(disk, config(segment_bytes_max=1 << 20), tmp_path, None) as life:
        disk.read_count = 0
        for number in range(5):
            await _send(life, event(2 * number), event(2 * number + 1))
        # Equal lines and times of one sender are no repeats either.
        source = await _source(life)
        for _ in range(3):
            source.put(batch(event(50), event(49)))
            await source.flush()
        assert disk.read_count == 0
        assert source.tally == Tally(stored=6)


async def test_events_as_old_as_others_are_looked_up(tmp_path: Path) -> None:
    disk = GatedDisk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1), event(2))
        disk.read_count = 0
        assert await _send(life, event(2), event(3)) == Tally(stored=1, duplicates=1)
        assert disk.read_count > 0


async def test_a_failed_lookup_fails_its_source_alone_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    disk = GatedDisk()
    settings = msgspec.structs.replace(config(), recording_buffer_bytes_max=10)
    async with lived(disk, settings, tmp_path, None) as life:
        await _send(life, event(1))
        source = await _source(life)
        disk.reads.clear()
        disk.read_error = OSError(errno.EIO, "broken")
        source.put(batch(event(1)))
        room = asyncio.create_task(source.room())
        await _turns()
        assert not room.done()
        disk.reads.set()
        await asyncio.wait_for(room, 20)
        with pytest.raises(StorageFailed):
            await source.flush()
        assert _is_clean(life)
        disk.read_error = None
        assert await _send(life, event(1), event(2)) == Tally(stored=1, duplicates=1)


async def test_stopping_waits_for_lookups_and_all_that_was_put(tmp_path: Path) -> None:
    disk = GatedDisk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        source = await _source(life)
        disk.reads.clear()
        source.put(batch(event(1), event(2)))
        stopping = asyncio.create_task(life.registry.stop())
        await _turns()
        assert not stopping.done()
        disk.reads.set()
        await asyncio.wait_for(stopping, 20)
        assert await source.flush() == Tally(stored=1, duplicates=1)
        assert disk.open_handles == 0


async def test_a_stop_during_a_failing_lookup_ends(tmp_path: Path) -> None:
    disk = GatedDisk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        source = await _source(life)
        disk.reads.clear()
        disk.read_error = OSError(errno.EIO, "broken")
        source.put(batch(event(1)))
        stopping = asyncio.create_task(life.registry.stop())
        await _turns()
        disk.reads.set()
        await asyncio.wait_for(stopping, 20)
        assert isinstance(source.failure, StorageFailed)
        disk.read_error = None


async def test_a_bug_in_a_lookup_ends_the_committer_rather_than_hang_a_recording(tmp_path: Path) -> None:
    disk = GatedDisk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        disk.read_error = ZeroDivisionError("a bug")
        source = await _source(life)
        source.put(batch(event(1)))
        committer = life.tasks[0]
        await asyncio.wait([committer], timeout=20)
        assert isinstance(committer.exception(), ZeroDivisionError)


async def test_a_block_that_cannot_be_read_back_is_acked_once_and_counted_once(tmp_path: Path) -> None:
    disk = GatedDisk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(5))
        source = await _source(life)
        source.put(batch(event(5)))  # Loads the history, which is kept up to date from here on.
        await source.flush()
        disk.read_error = OSError(errno.EIO, "broken")
        source.put(batch(event(6)))
        assert await source.flush() == Tally(stored=1, duplicates=1)
        disk.read_error = None
        assert await _send(life, event(6), event(7)) == Tally(stored=1, duplicates=1)
        row = await life.index.recording(TENANT, A)
        assert row is not None
        assert row.next_seq == 4


async def test_open_files_are_bounded(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(0))
    async with lived(disk, config(), tmp_path, None) as life:
        for number in range(6):
            await _send(life, event(1), recording_id=numbered_id(number))
            assert disk.open_handles <= config().open_segments_max
        assert await _send(life, event(2)) == Tally(stored=1)


class CountingDisk(SimDisk):
    opened = 0

    def open_append(self, path: str, *, create: bool) -> int:
        self.opened += 1
        return super().open_append(path, create=create)


async def test_those_that_write_in_turns_keep_their_files_open_while_there_is_room(tmp_path: Path) -> None:
    disk = CountingDisk(random.Random(0))
    async with lived(disk, config(), tmp_path, None) as life:
        for turn in range(3):
            for number in range(3):
                await _send(life, event(turn), recording_id=numbered_id(number))
        # Two may stay open, so that only the third is opened each time.
        assert disk.opened == 3 + 2


async def test_an_idle_file_makes_room_for_busy_ones(tmp_path: Path) -> None:
    disk = CountingDisk(random.Random(0))
    async with lived(disk, config(), tmp_path, None) as life:
        for number in range(2):
            await _send(life, event(1), recording_id=numbered_id(number))
        life.clock.seconds += 11
        for turn in range(3):
            for number in (2, 3):
                await _send(life, event(turn), recording_id=numbered_id(number))
        assert disk.opened == 4


async def test_a_segment_is_rolled_at_its_size(tmp_path: Path) -> None:
    async with lived(SimDisk(random.Random(0)), config(segment_bytes_max=1), tmp_path, None) as life:
        for number in range(3):
            await _send(life, event(number))
        row = await life.index.recording(TENANT, A)
        assert row is not None
        assert [segment.number for segment in row.segments] == [1, 2, 3]


class HangingIndex(LaggingIndex):
    """The end of a transaction is never told, as by a thread that ran out of memory."""

    hangs = False

    async def apply(self, commits: Sequence[Commit]) -> None:
        if commits and self.hangs:
            await asyncio.Event().wait()
        await super().apply(commits)


async def test_a_write_that_never_ends_is_not_ready_and_then_a_failure(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(config(), commit_stall_max_s=1)
    async with lived(SimDisk(random.Random(0)), settings, tmp_path, None, index=HangingIndex) as life:
        assert await _send(life, event(1)) == Tally(stored=1)
        assert await life.registry.why_not_stored() is None
        assert isinstance(life.index, HangingIndex)
        life.index.hangs = True
        source = await _source(life)
        source.put(batch(event(2)))
        await until(lambda: life.registry.committer.group_began_at is not None, what="a group")
        (watch,) = [task for task in life.tasks if task.get_name() == "commit progress"]
        life.clock.seconds += 20
        reason = await life.registry.why_not_stored()
        assert reason is not None
        assert reason.startswith("a write has not ended for 20 s")
        with pytest.raises(StorageFailed, match="commit_stall_max_s"):
            await asyncio.wait_for(watch, 20)


async def test_the_end_of_the_group_under_way_is_heard_however_soon_it_comes(tmp_path: Path) -> None:
    async with lived(SimDisk(random.Random(0)), config(), tmp_path, None) as life:
        assert await _send(life, event(1)) == Tally(stored=1)
        committer = life.registry.committer
        asking = committer.has_next_group()
        asking.send(None)  # Up to where it waits: the loop has not turned since, so no group can have ended.
        assert committer._group_done is not None
        asking.close()
        committer._group_done = None


async def test_the_ages_of_blocks_are_measured_from_their_first_event(tmp_path: Path) -> None:
    """Gathered, and acked: from when the first event of a block came, whatever came behind it."""

    def figures(histogram: metrics.Histogram) -> tuple[float, float]:
        values = {sample.name: sample.value for sample in histogram.samples()}
        return values[f"{histogram.name}_count"], values[f"{histogram.name}_sum"]

    disk = GatedDisk()
    async with lived(disk, config(), tmp_path, None) as life:
        life.clock.seconds = 1_000.0
        source = await _source(life)
        before = figures(metrics.GATHERING), figures(metrics.ACK_AGE), figures(metrics.COMMIT)
        disk.writes.clear()
        source.put(batch(event(1)), since=990.0)
        source.put(batch(event(2)), since=999.0)
        await _turns()
        life.clock.seconds += 5.0
        disk.writes.set()
        await source.flush()
    after = figures(metrics.GATHERING), figures(metrics.ACK_AGE), figures(metrics.COMMIT)
    counts = [now[0] - then[0] for then, now in zip(before, after, strict=True)]
    sums = [now[1] - then[1] for then, now in zip(before, after, strict=True)]
    assert counts == [1, 1, 1]
    assert sums == pytest.approx([10.0, 15.0, 5.0])
