"""Roll-up and eviction cut at every step: what was acked is there once, and the next start finishes.

Each case begins with the same world (two recordings that are sealed, and one that was rolled up before and
went on), ends a life at one place, and begins new lives with all that such an end may leave: each state of
the index, and no index at all. They must be able to read everything at once. After a roll-up of their own
nothing may lie about: no object that the index doesn't know, no file in ``rolling/``, no segment that is in
an object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from rrd.config import Config
from rrd.errors import StoreAway
from tests.rollup.rollup_lab import A, B, C, Lab, Step, World, event, lab, power_cut, settings
from tests.simdisk import When
from tests.thoroughness import IS_THOROUGH

WHENS: tuple[Literal["before", "after"], ...] = ("before", "after")
CALLS = ("plan_object", "put", "publish_object", "evicted")
AWAY = [Step("put", when, number, is_power=False) for when in WHENS for number in (1, 2, 3)]

CONFIGS = {
    "evicted at once": settings(),
    "evicted later": settings(keep_local_s=60),
    "two at a time": settings(rollup_tasks=2),
}
CASES = [
    *(("evicted at once", Step(call, when, number)) for call in CALLS for when in WHENS for number in (1, 2)),
    *(("evicted later", Step(call, when)) for call in CALLS for when in WHENS),
    *(("two at a time", Step(call, when, 2)) for call in CALLS[1:3] for when in WHENS),
]
METADATA = b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{"k":"v"}}}'


async def prepared(folder: Path) -> World:
    """Three recordings: B was rolled up and went on, C has metadata and bad lines."""
    async with lab(folder, settings(keep_local_s=3600)) as life:
        await life.fill(B, count=5)
        await life.rollup.drain()
        await life.send(C, [b"not json", event(1), b"17"])
        await life.send(C, [event(2, pad=3000), event(3), event(4, kind=4)])
        await life.note(C, METADATA)
        await life.fill(A, B, count=6)
        await life.check(rolled_up=False)
        return life.world(life.index.states[-1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return asyncio.run(prepared(tmp_path_factory.mktemp("world")))


async def work(life: Lab) -> None:
    """What is cut off: a roll-up of everything, and the eviction of what was kept for a while."""
    await life.rollup.drain()
    life.clock.seconds += 7200
    await life.evictor.evict_now(everything=False)


async def go_on(folder: Path, config: Config, worlds: Iterable[World]) -> None:
    """Begin each of the lives that come after."""
    for world in worlds:
        async with lab(folder, config, world) as life:
            await life.check(rolled_up=False)
            await work(life)
            await life.check(rolled_up=True)
            assert [row.value for row in await life.index.metadata("t", C)] == ["v"]
            assert sum(row.line_count for row in await life.index.quarantine(tenant="t", recording_id=C)) == 2
            await life.fill(A, B, count=2)
            await work(life)
            await life.check(rolled_up=True)


def worlds_after(life: Lab, *, kill: bool) -> list[World]:
    left = life.survivors(kill=kill)
    return [*left, left[-1]._replace(state=None)]


@pytest.mark.table
@pytest.mark.parametrize(("name", "step"), CASES, ids=str)
async def test_a_power_cut_at_any_call_is_finished_by_the_next_start(
    tmp_path: Path, world: World, name: str, step: Step
) -> None:
    await _cut_at(tmp_path, CONFIGS[name], world, step, kill=False)


@pytest.mark.parametrize("call", CALLS)
async def test_what_a_killed_daemon_left_is_finished_by_the_next_start(
    tmp_path: Path, world: World, call: str
) -> None:
    await _cut_at(tmp_path, CONFIGS["evicted at once"], world, Step(call, "after"), kill=True)


async def _cut_at(folder: Path, config: Config, world: World, step: Step, *, kill: bool) -> None:
    with power_cut():
        async with lab(folder, config, world, cut=step) as life:
            await work(life)
    assert life.index.switch.has_happened
    await go_on(folder, config, worlds_after(life, kill=kill))


@pytest.mark.parametrize("step", AWAY, ids=str)
async def test_an_answer_that_the_store_loses_costs_one_more_try(
    tmp_path: Path, world: World, step: Step
) -> None:
    config = CONFIGS["evicted at once"]
    async with lab(tmp_path, config, world, cut=step) as life:
        with pytest.raises(StoreAway):
            await work(life)
        await life.check(rolled_up=False)
        left = life.world(life.index.states[-1])
        await work(life)
        await life.check(rolled_up=True)
        # Once for the one that was lost, and as often as there are objects.
        assert life.store.calls["put"] <= 4
    await go_on(tmp_path, config, [left, left._replace(state=None)])


async def cut_everywhere(
    folder: Path, config: Config, world: World, *, every: int, seeds: Iterable[int]
) -> int:
    """Cut the power at each operation of the disk; return how many lives came after."""
    async with lab(folder, config, world) as whole:
        start = whole.disk.operations
        await work(whole)
        count = whole.disk.operations - start
    lives = 0
    whens: tuple[When, ...] = ("before", "halfway", "after")
    for seed in seeds:
        for number in range(0, count, every):
            when = whens[(number // every + seed) % 3]
            with power_cut():
                async with lab(folder, config, world, seed=seed) as life:
                    life.disk.cut_at(start + number, when=when)
                    await work(life)
            left = worlds_after(life, kill=False)
            lives += len(left)
            await go_on(folder, config, left)
    return lives


@pytest.mark.parametrize("name", ["evicted at once", "evicted later"])
async def test_a_power_cut_at_any_operation_of_the_disk_is_finished_by_the_next_start(
    tmp_path: Path, world: World, name: str
) -> None:
    assert await cut_everywhere(tmp_path, CONFIGS[name], world, every=9 if IS_THOROUGH else 27, seeds=[0]) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evicted at once", "evicted later"])
async def test_a_power_cut_at_every_operation_of_the_disk_is_finished_by_the_next_start(
    tmp_path: Path, world: World, name: str
) -> None:
    lives = await cut_everywhere(tmp_path, CONFIGS[name], world, every=1, seeds=range(3))
    print(f"\n{name}: {lives} lives after power cuts")
