"""Nothing that holds events is removed on a guess: only on a recorded removal, or where its lines are too.

The scenario: the index is lost, a daemon starts while the object store is not there, an event comes for an
old recording, and the store comes back.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rrd.errors import NotFound, ObjectRejected
from rrd.index.rows import RecordingRow
from tests.care.care_lab import A, Life, delete_index, life
from tests.objects.memory_store import MemoryStore
from tests.samples import event, metadata

DAY_S = 86_400.0


@contextlib.asynccontextmanager
async def began_twice(folder: Path, *, later_s: float) -> AsyncIterator[tuple[Life, MemoryStore, bytes, str]]:
    """Yield the life after the scenario, its store, the one object of before, and its key.

    ``later_s``: how long after its first beginning the recording began again.
    """
    store = MemoryStore()
    async with life(folder, store) as first:
        await first.send(metadata("user", "1"), event(1), event(2), event(3))
        await first.roll_up(evict=True)
        seconds = first.clock.seconds
    ((key, data),) = store.objects.items()
    delete_index(folder)
    async with life(folder, MemoryStore()) as unmounted:
        unmounted.clock.seconds = seconds + later_s
        await unmounted.send(event(4))
    async with life(folder, store) as again:
        again.clock.seconds = seconds + later_s + 10
        yield again, store, data, key


LATER_S = [1.0, 3 * DAY_S]


@pytest.mark.parametrize("later_s", LATER_S, ids=["the same day", "another day"])
@pytest.mark.parametrize(
    "step", ["mend", "roll up", "retention", "reindex, then mend", "reindex, then retention"]
)
async def test_what_began_before_the_index_was_lost_is_told_and_stays(
    tmp_path: Path, later_s: float, step: str
) -> None:
    async with began_twice(tmp_path, later_s=later_s) as (now, store, data, key):
        if not step.startswith("reindex"):
            (told,) = [each for each in await now.verify() if each.kind == "object-of-another-life"]
            assert "it holds 3 events" in told.what
            assert f"rrd import --tenant t --recording {A}" in told.next_step
            assert told.where == key
            await _do(now, step)
            assert store.objects[key] == data
            return
    delete_index(tmp_path)
    async with life(tmp_path, store) as again:
        again.clock.seconds = now.clock.seconds
        await _do(again, step.removeprefix("reindex, then "))
        assert store.objects[key] == data
        assert {each.kind for each in await again.verify()} >= {"object-of-another-life"} or step.endswith(
            "retention"
        )


async def _do(now: Life, step: str) -> None:
    match step:
        case "mend":
            left = await now.verify(mend=True)
            assert "object-of-another-life" in {each.kind for each in left}
        case "roll up":
            await now.roll_up(evict=True)
        case "retention":
            row = await now.row()
            await now.remover.expire("t", A, last_stored_ms=row.extent.stored_ms)
            with pytest.raises(NotFound):
                await now.remover.expire("t", A, last_stored_ms=row.extent.stored_ms)


async def test_an_object_of_the_same_name_is_never_written_over(tmp_path: Path) -> None:
    """Both lives began on one day and hold as many events: their objects have one key."""
    store = MemoryStore()
    async with life(tmp_path, store) as first:
        await first.send(event(1))
        await first.roll_up(evict=True)
        seconds = first.clock.seconds
    ((key, data),) = store.objects.items()
    delete_index(tmp_path)
    async with life(tmp_path, MemoryStore()) as unmounted:
        unmounted.clock.seconds = seconds + 1
        await unmounted.send(event(4))
    async with life(tmp_path, store) as again:
        again.clock.seconds = seconds + 20
        await again.rest()
        with pytest.raises(ObjectRejected):
            await again.rollup.drain()
        assert store.objects[key] == data
        row: RecordingRow = await again.row()
        assert row.segments, "and what was to be rolled up is still here"
        assert "object-of-another-life" in {each.kind for each in await again.verify(mend=True)}
        assert store.objects[key] == data


async def test_an_erasure_takes_what_had_come_under_the_id_by_then(tmp_path: Path) -> None:
    async with began_twice(tmp_path, later_s=3 * DAY_S) as (now, store, _, _key):
        await now.remover.erase("t", A)
        left = await now.verify()
        assert {each.kind for each in left} == {"erased-leftover"}
        await now.verify(mend=True)
        assert store.objects == {}
        assert await now.verify() == []


async def test_no_advice_loses_what_another_difference_tells_of(tmp_path: Path) -> None:
    """Erasing a recording of which something is lost would take the objects of its other life along."""
    async with began_twice(tmp_path, later_s=3 * DAY_S) as (now, store, _, key):
        await now.send(event(5))
        await now.roll_up(evict=True)
        for mine in store.objects.keys() - {key}:
            del store.objects[mine]
        for deep in (False, True):
            told = await now.verify(deep=deep)
            assert {each.kind for each in told} >= {"object-of-another-life", "events-missing"}
            assert not any("rrd erase" in each.next_step for each in told)
            assert any("Do not erase the recording" in each.next_step for each in told)
        del store.objects[key]
        assert any("rrd erase" in each.next_step for each in await now.verify())
