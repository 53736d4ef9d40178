"""Recordings opened, held, let go and sealed, whoever asks for them at the same time."""

from __future__ import annotations

import asyncio
import errno
import random
from pathlib import Path

import pytest

from rrd import layout
from rrd.errors import Gone, RefusedError, ShuttingDown
from rrd.recordings import registry
from rrd.recordings.registry import TooManyRecordings
from rrd.recordings.source import Source, Tally
from rrd.wire.metadata import Metadata
from tests.power.machine import Life, config, lived
from tests.samples import batch, event
from tests.simdisk import SimDisk
from tests.sources import close_source, open_source
from tests.wired import DATA, TENANT, numbered_id

A, B, C = (numbered_id(number) for number in range(3))


def _disk() -> SimDisk:
    return SimDisk(random.Random(0))


async def _source(life: Life, recording_id: str = A) -> Source:
    return await open_source(life.registry, TENANT, recording_id)


_send = Life.post


async def _rest(life: Life) -> None:
    life.clock.seconds += 11
    await life.registry.seal_idle()


async def _states(life: Life, recording_id: str = A) -> list[str]:
    row = await life.index.recording(TENANT, recording_id)
    return [segment.state for segment in row.segments] if row is not None else []


async def test_all_who_ask_for_a_recording_at_once_get_the_same(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        await asyncio.gather(*(_source(life) for _ in range(5)))
        assert life.registry._recordings[TENANT, A].sources == 5


async def test_a_cancelled_opener_does_not_disturb_the_others(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        first = asyncio.create_task(_source(life))
        others = [asyncio.create_task(_source(life)) for _ in range(2)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(*others)
        assert life.registry._recordings[TENANT, A].sources == 2
        assert first.cancelled()


async def test_more_recordings_than_allowed_are_refused_while_all_are_written_to(tmp_path: Path) -> None:
    async with lived(_disk(), config(recordings_max=2), tmp_path, None) as life:
        first, _ = await _source(life, A), await _source(life, B)
        with pytest.raises(TooManyRecordings):
            await _source(life, C)
        await close_source(first)
        assert (await _source(life, C)).recording_id == C
        assert len(life.registry._recordings) == 2


async def test_place_is_made_by_sealing_what_is_idle(tmp_path: Path) -> None:
    disk = _disk()
    async with lived(disk, config(recordings_max=1), tmp_path, None) as life:
        await _send(life, event(1), recording_id=A)
        await _send(life, event(1), recording_id=B)
        assert await _states(life, A) == ["sealed"]
        assert await _states(life, B) == ["active"]
        assert await _send(life, event(1), event(2), recording_id=A) == Tally(stored=1, duplicates=1)


async def test_openers_that_crowd_each_other_out_never_get_a_recording_that_is_gone(tmp_path: Path) -> None:
    async with lived(_disk(), config(recordings_max=2), tmp_path, None) as life:

        async def send(number: int) -> None:
            for step in range(5):
                line = event(100 * number + step)
                while True:
                    try:
                        tally = await _send(life, line, recording_id=numbered_id(number % 5))
                    except TooManyRecordings:
                        await asyncio.sleep(0)
                        continue
                    assert tally.stored + tally.duplicates == 1
                    break

        await asyncio.wait_for(asyncio.gather(*(send(number) for number in range(10))), 30)
        for number in range(5):
            row = await life.index.recording(TENANT, numbered_id(number))
            assert row is not None
            assert row.next_seq == 11


async def test_an_idle_recording_is_sealed_and_its_file_moved(tmp_path: Path) -> None:
    disk = _disk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        await life.registry.seal_idle()
        assert await _states(life) == ["active"], "it isn't idle for long enough"
        await _rest(life)
        assert await _states(life) == ["sealed"]
        name = layout.SegmentName(TENANT, A, 1)
        assert list(disk.files()) == [layout.sealed_path(DATA, name)]
        assert disk.open_handles == 0
        assert not life.registry._recordings


async def test_a_silent_recording_that_somebody_has_open_is_sealed_and_goes_on(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        source = await _source(life)
        source.put(batch(event(1)))
        await source.flush()
        await _rest(life)
        assert await _states(life) == ["sealed"]
        source.put(batch(event(2)))
        assert (await source.flush()).stored == 2
        assert await _states(life) == ["sealed", "active"]


async def test_a_recording_that_is_over_is_sealed_after_a_short_grace(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        closing = b'{"type":5,"timestamp":2,"data":{"tag":"close-permanent","payload":{}}}'
        await _send(life, event(1), closing)
        life.clock.seconds += 4
        await life.registry.seal_idle()
        assert await _states(life) == ["active"], "what is on its way may still join it"
        life.clock.seconds += 2
        await life.registry.seal_idle()
        assert await _states(life) == ["sealed"]
        await _send(life, event(3))
        life.clock.seconds += 6
        await life.registry.seal_idle()
        assert await _states(life) == ["sealed", "active"], "it went on after all"


async def test_what_was_active_at_the_start_is_sealed_though_nobody_comes_back(tmp_path: Path) -> None:
    disk = _disk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        await _send(life, event(1), recording_id=numbered_id(1))
    async with lived(disk, config(), tmp_path, None) as life:
        # One of them is gone on with.
        await _send(life, event(2), recording_id=numbered_id(1))
        life.clock.seconds += 6
        await _send(life, event(3), recording_id=numbered_id(1))
        life.clock.seconds += 6
        await _until_swept(life)
        assert await _states(life) == ["sealed"]
        assert await _states(life, numbered_id(1)) == ["active"]


async def _until_swept(life: Life) -> None:
    """Seal until something was: the sweep has to find out first what is there."""
    async with asyncio.timeout(20):
        while "active" in await _states(life):
            await life.registry.seal_idle()
            await asyncio.sleep(0)


async def test_an_expelled_recording_tells_its_senders_that_it_is_gone(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        source = await _source(life)
        source.put(batch(event(1)))
        await source.flush()
        source.put(batch(event(2)))
        await life.registry.expel(TENANT, A)
        with pytest.raises(Gone):
            source.put(batch(event(3)))
        with pytest.raises(Gone):
            await source.flush()
        assert life.registry.take_late_lines() == {(TENANT, A): 1}
        await close_source(source)
        await life.registry.expel(TENANT, numbered_id(3))


async def test_a_recording_that_could_not_be_sealed_is_gone_on_with(tmp_path: Path) -> None:
    disk = _disk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        disk.fail_at(disk.operations, errno.EIO)
        await _rest(life)
        for number in range(2, 6):
            assert await _send(life, event(number)) == Tally(stored=1)
            await life.registry.seal_idle()
        await _rest(life)
        assert set(await _states(life)) == {"sealed"}


async def test_the_sweep_seals_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_SWEEP_INTERVAL_S", 0.001)
    async with lived(_disk(), config(), tmp_path, None) as life:
        await _send(life, event(1))
        life.clock.seconds += 11
        async with asyncio.timeout(20):
            while await _states(life) != ["sealed"]:  # noqa: ASYNC110 - nobody tells when the sweep is done
                await asyncio.sleep(0)


async def test_late_events_open_a_new_segment(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        await _send(life, event(1), event(2))
        await _rest(life)
        assert await _send(life, event(2), event(3)) == Tally(stored=1, duplicates=1)
        assert await _states(life) == ["sealed", "active"]
        row = await life.index.recording(TENANT, A)
        assert row is not None
        assert row.next_seq == 4


async def test_whoever_comes_while_a_recording_is_let_go_finds_it_anew(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        await _send(life, event(1))
        life.clock.seconds += 11
        sealing = asyncio.create_task(life.registry.seal_idle())
        await asyncio.sleep(0)
        tallies = await asyncio.gather(*(_send(life, event(1), event(number)) for number in (2, 3)))
        await sealing
        assert sum(tally.stored for tally in tallies) == 2
        assert await _states(life) == ["sealed", "active"]


async def test_two_who_make_place_at_once_seal_each_recording_once(tmp_path: Path) -> None:
    async with lived(_disk(), config(recordings_max=3), tmp_path, None) as life:
        for number in range(3):
            await _send(life, event(1), recording_id=numbered_id(number))
        life.clock.seconds += 11
        opened = [_send(life, event(1), recording_id=numbered_id(number)) for number in (3, 4, 5)]
        await asyncio.gather(*opened, life.registry.seal_idle(), life.registry.seal_idle())
        for number in range(3):
            assert await _states(life, numbered_id(number)) == ["sealed"]


async def test_a_segment_that_cannot_be_moved_stays_readable_and_the_recording_goes_on(
    tmp_path: Path,
) -> None:
    disk = _disk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
        disk.fail_at(disk.operations + 1, errno.EIO)
        await _rest(life)
        assert await _send(life, event(1), event(2)) == Tally(stored=1, duplicates=1)


async def test_a_stopped_registry_refuses_sources_and_puts(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        source = await _source(life)
        source.put(batch(event(1)))
        await life.registry.stop()
        assert await source.flush() == Tally(stored=1)
        with pytest.raises(ShuttingDown):
            source.put(batch(event(2)))
        with pytest.raises(ShuttingDown):
            source.put_metadata(Metadata({"key": "value"}))
        # What was refused is not waited for.
        assert await asyncio.wait_for(source.flush(), 20) == Tally(stored=1)
        with pytest.raises(ShuttingDown):
            await _source(life)


async def test_an_opener_under_way_when_the_registry_stops_is_refused(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        opening = asyncio.create_task(_source(life))
        await asyncio.sleep(0)
        await life.registry.stop()
        with pytest.raises(RefusedError):
            await opening


async def test_a_source_closed_while_its_events_wait_leaves_nothing_behind(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        stays = await _source(life)
        for number in range(5):
            source = await _source(life)
            source.put(batch(event(number)))
            await close_source(source)
            await source.flush()
        assert life.registry._recordings[TENANT, A]._live_ts == {}
        # Its events are others' events all the same.
        stays.put(batch(event(4), event(5)))
        assert await stays.flush() == Tally(stored=1, duplicates=1)


class _DiskThatFailsToClose(SimDisk):
    def close(self, handle: int) -> None:
        super().close(handle)
        raise OSError(errno.EIO, "told at the close")


async def test_a_failing_close_holds_up_nobody(tmp_path: Path) -> None:
    disk = _DiskThatFailsToClose(random.Random(0))
    async with lived(disk, config(recordings_max=3), tmp_path, None) as life:
        for number in range(6):
            assert await _send(life, event(1), recording_id=numbered_id(number)) == Tally(stored=1)
        await _rest(life)
        assert await asyncio.wait_for(_send(life, event(1), event(2)), 20) == Tally(stored=1, duplicates=1)
        await asyncio.wait_for(life.registry.stop(), 20)


async def test_tenants_with_the_same_recording_id_do_not_meet(tmp_path: Path) -> None:
    async with lived(_disk(), config(), tmp_path, None) as life:
        await _send(life, event(1))
        other = await open_source(life.registry, "other", A)
        other.put(batch(event(1)))
        assert await other.flush() == Tally(stored=1)


async def test_a_segment_that_vanished_does_not_stop_its_recording(tmp_path: Path) -> None:
    disk = _disk()
    async with lived(disk, config(), tmp_path, None) as life:
        await _send(life, event(1))
    (path,) = disk.files()
    state = life.index.states[-1]
    disk.unlink(path)
    async with lived(disk, config(), tmp_path, state) as again:
        assert again.recovered.missing == 1
        assert await _send(again, event(1), event(2)) == Tally(stored=2)
        row = await again.index.recording(TENANT, A)
        assert row is not None
        assert [segment.number for segment in row.segments] == [1, 2]
