"""Recordings that are asked for at once are looked up together, and each is opened as if it were alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from rrd.errors import Gone, IndexBusy, RefusedError
from rrd.index.rows import RecordingRow
from rrd.recordings.opening import TOGETHER_MAX
from rrd.recordings.source import Source, Tally
from tests.power.machine import Life, config, lived
from tests.samples import batch, event
from tests.simdisk import SimDisk
from tests.sources import close_source, open_source
from tests.wired import TENANT, numbered_id

MANY = [numbered_id(number) for number in range(3 * TOGETHER_MAX + 5)]
MANY_OPEN = config(recordings_max=10 * len(MANY))


def _disk() -> SimDisk:
    return SimDisk(random.Random(0))


def _counted(life: Life, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of recordings in each look-up."""
    looked_up = life.index.recordings
    counts: list[int] = []

    async def count(names: Sequence[tuple[str, str]]) -> list[RecordingRow | None]:
        counts.append(len(names))
        return await looked_up(names)

    monkeypatch.setattr(life.index, "recordings", count)
    return counts


async def _open(life: Life, recording_id: str) -> Source:
    return await open_source(life.registry, TENANT, recording_id)


async def _stored(life: Life, recording_id: str, *lines: bytes) -> Tally:
    """Open a source beside others, and store lines."""
    source = await _open(life, recording_id)
    source.put(batch(*lines))
    tally = await source.flush()
    await close_source(source)
    return tally


async def test_those_asked_for_at_once_are_looked_up_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lived(_disk(), MANY_OPEN, tmp_path, None) as life:
        counts = _counted(life, monkeypatch)
        tallies = await asyncio.gather(*(_stored(life, each, event(1)) for each in MANY))
        assert set(tallies) == {Tally(stored=1)}
        assert sum(counts) == len(MANY)
        assert max(counts) == TOGETHER_MAX
        assert len(counts) <= len(MANY) // TOGETHER_MAX + 2


async def test_the_same_recording_twice_among_others_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lived(_disk(), MANY_OPEN, tmp_path, None) as life:
        counts = _counted(life, monkeypatch)
        begun: list[str] = []
        ids = [*MANY[:10], MANY[3], MANY[3], *MANY[10:20]]

        async def store(at: int, recording_id: str) -> Tally:
            source = await life.registry.open_source(
                TENANT, recording_id, begin=lambda: begun.append(recording_id)
            )
            source.put(batch(event(1), event(100 + at)))
            tally = await source.flush()
            source.close()
            return tally

        tallies = await asyncio.gather(*(store(at, each) for at, each in enumerate(ids)))
        assert sum(counts) == 20
        assert sorted(begun) == sorted(MANY[:20])
        assert sum(tally.stored for tally in tallies) == 20 + len(ids)
        assert sum(tally.duplicates for tally in tallies) == 2, "each event is there once"


async def test_one_that_may_not_begin_fails_alone(tmp_path: Path) -> None:
    async with lived(_disk(), MANY_OPEN, tmp_path, None) as life:

        def refuse() -> None:
            raise RefusedError("too many recordings a minute")

        others = [asyncio.create_task(_open(life, each)) for each in MANY[:5]]
        refused = asyncio.create_task(life.registry.open_source(TENANT, MANY[5], begin=refuse))
        more = [asyncio.create_task(_open(life, each)) for each in MANY[6:9]]
        with pytest.raises(RefusedError):
            await refused
        assert [source.recording_id for source in await asyncio.gather(*others, *more)] == [
            *MANY[:5],
            *MANY[6:9],
        ]
        assert (await _open(life, MANY[5])).recording_id == MANY[5]


async def test_one_that_was_erased_is_gone_and_the_others_are_not(tmp_path: Path) -> None:
    async with lived(_disk(), MANY_OPEN, tmp_path, None) as life:
        life.tombstones.bury(
            TENANT, MANY[1], created_ms=1, reason="erased", at_ms=2, events=0, size=0, objects=0
        )
        found = await asyncio.gather(*(_open(life, each) for each in MANY[:3]), return_exceptions=True)
        assert isinstance(found[1], Gone)
        assert [type(each) for each in (found[0], found[2])] == [Source, Source]
        assert life.registry.take_late_lines() == {(TENANT, MANY[1]): 1}


async def test_what_the_index_raises_all_hear_and_the_next_try_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lived(_disk(), MANY_OPEN, tmp_path, None) as life:

        async def fail(names: Sequence[tuple[str, str]]) -> list[RecordingRow | None]:
            raise IndexBusy("locked")

        with monkeypatch.context() as patched:
            patched.setattr(life.index, "recordings", fail)
            found = await asyncio.gather(*(_open(life, each) for each in MANY[:5]), return_exceptions=True)
        assert [type(each) for each in found] == [IndexBusy] * 5
        assert not life.registry._opener.under_way
        tallies = await asyncio.gather(*(_stored(life, each, event(1)) for each in MANY[:5]))
        assert set(tallies) == {Tally(stored=1)}


async def test_after_a_restart_all_go_on_with_their_segments_and_each_event_is_there_once(
    tmp_path: Path,
) -> None:
    disk = _disk()
    async with lived(disk, MANY_OPEN, tmp_path, None) as life:
        await asyncio.gather(*(_stored(life, each, event(1)) for each in MANY[:40]))
        state = life.index.states[-1]
    files = disk.files()
    async with lived(disk, MANY_OPEN, tmp_path, state) as life:
        tallies = await asyncio.gather(*(_stored(life, each, event(1), event(2)) for each in MANY[:50]))
        assert tallies == [Tally(stored=1, duplicates=1)] * 40 + [Tally(stored=2)] * 10
        assert set(files) <= set(disk.files()), "none was sealed"
        assert len(disk.files()) == 50


async def test_those_being_sealed_are_waited_for_and_hold_up_no_other(tmp_path: Path) -> None:
    async with lived(_disk(), MANY_OPEN, tmp_path, None) as life:
        await asyncio.gather(*(_stored(life, each, event(1)) for each in MANY[:20]))
        life.clock.seconds += 11
        sealing = asyncio.create_task(life.registry.seal_idle())
        tallies = await asyncio.gather(*(_stored(life, each, event(1), event(2)) for each in MANY[:30]))
        await sealing
        assert tallies == [Tally(stored=1, duplicates=1)] * 20 + [Tally(stored=2)] * 10
