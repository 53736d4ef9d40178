"""``rrd verify`` after a crash at each step of roll-up and eviction: silent once the next start is done."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from rrd.care.examine import Examiner
from rrd.care.verify import Verifier
from rrd.inventory.differences import Difference
from tests.rollup.rollup_lab import DATA, A, B, Lab, Step, World, lab, power_cut, settings

pytestmark = pytest.mark.table

CALLS = ("plan_object", "put", "publish_object", "evicted")
STEPS = [Step(call, when) for call in CALLS for when in ("before", "after")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A is sealed; B was rolled up before, and went on."""

    async def make(folder: Path) -> World:
        async with lab(folder, settings(keep_local_s=3600)) as life:
            await life.fill(B, count=5)
            await life.rollup.drain()
            await life.send(B, [b"no event"])
            await life.fill(A, B, count=6)
            return life.world(life.index.states[-1])

    return asyncio.run(make(tmp_path_factory.mktemp("world")))


async def _work(life: Lab) -> None:
    await life.rollup.drain()
    life.clock.seconds += 7200
    await life.evictor.evict_now(everything=False)


async def _differences(life: Lab) -> list[Difference]:
    examiner = Examiner(DATA, life.disk, life.index, life.parts.store, life.tombstones, is_served=True)
    with contextlib.closing(examiner):
        verifier = Verifier(examiner, deep=True, told=lambda _what, _count: None, look_again_s=0.0)
        return [difference async for difference in verifier.all()]


@pytest.mark.parametrize("kill", [False, True], ids=["power cut", "killed"])
@pytest.mark.parametrize("step", STEPS, ids=str)
async def test_nothing_is_told_once_a_start_has_seen_to_a_crash(
    tmp_path: Path, world: World, step: Step, kill: bool
) -> None:
    config = settings(keep_local_s=60)
    with power_cut():
        async with lab(tmp_path, config, world, cut=step) as life:
            await _work(life)
    assert life.index.switch.has_happened
    left = life.survivors(kill=kill)
    for state in {survivor.state for survivor in left} | {None}:
        async with lab(tmp_path, config, left[-1]._replace(state=state)) as again:
            assert await _differences(again) == []
            await _work(again)
            assert await _differences(again) == []


@pytest.mark.parametrize("number", range(0, 40, 4))
async def test_nothing_is_told_after_a_power_cut_in_the_middle_of_a_write(
    tmp_path: Path, world: World, number: int
) -> None:
    config = settings(keep_local_s=0)
    with power_cut():
        async with lab(tmp_path, config, world, seed=number) as life:
            life.disk.cut_at(life.disk.operations + number, when="halfway")
            await _work(life)
    for survivor in life.survivors(kill=False):
        async with lab(tmp_path, config, survivor) as again:
            assert await _differences(again) == []
            await _work(again)
            assert await _differences(again) == []
