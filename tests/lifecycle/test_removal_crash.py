"""Removal cut at every step: after the next start nothing of it is back, and nothing else is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import pytest

from rrd.errors import Gone
from rrd.tombstones import Reason
from tests.lifecycle.removal_lab import RemovalLab, RemovalWorld, lab, prepared
from tests.rollup.rollup_lab import TENANT, A, Step, event, power_cut
from tests.simdisk import When
from tests.thoroughness import some

REASONS: tuple[Reason, ...] = get_args(Reason)
WHENS: tuple[Literal["before", "after"], ...] = ("before", "after")
CALLS = ("bury", "remove", "gone_here", "delete_prefix", "done")


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> RemovalWorld:
    return asyncio.run(prepared(tmp_path_factory.mktemp("world")))


async def go_on(folder: Path, worlds: Iterable[RemovalWorld], reason: Reason) -> None:
    """Begin each of the lives that come after, and hold it to what was promised."""
    for world in worlds:
        async with lab(folder, world) as life:
            is_buried = life.tombstones.get(TENANT, A) is not None
            if not is_buried:
                # It ended before the promise: nothing of it may be missing.
                await life.check(rolled_up=False)
                await life.remove(reason)
            await life.remover.finish()
            await check_gone(life, reason)


async def check_gone(life: RemovalLab, reason: Reason) -> None:
    assert await life.find_traces() == []
    life.forget_acked()
    await life.check(rolled_up=False)
    assert life.tombstones.pending() == []
    stone = life.tombstones.get(TENANT, A)
    assert stone is not None
    assert (stone.reason, stone.state) == (reason, "done")
    assert (stone.events, stone.objects) == (8, 1)
    if reason == "erased":
        with pytest.raises(Gone):
            await life.send(A, [event(50)])
        assert await life.find_traces() == []
    else:
        await life.send(A, [event(50)])
        assert (await life.row(A)).next_seq == 2
    await life.rest()
    await life.rollup.drain()
    await life.check(rolled_up=True)


async def cut_off(life: RemovalLab, reason: Reason) -> None:
    with power_cut():
        await life.remove(reason)


@pytest.mark.parametrize("reason", REASONS)
async def test_a_removal_that_nothing_interrupts_leaves_no_trace(
    tmp_path: Path, remains: RemovalWorld, reason: Reason
) -> None:
    async with lab(tmp_path, remains) as life:
        traces = await life.find_traces()
        # The look is at the right places.
        for kind in ("index", "in the index", "/active/", "/sealed/", "/torn/", "t/2023/"):
            assert any(kind in trace for trace in traces), kind
        receipt = await life.remove(reason)
        assert (receipt.recordings, receipt.events, receipt.objects, receipt.pending) == (1, 8, 1, 0)
        await check_gone(life, reason)


@pytest.mark.table
@pytest.mark.parametrize("end", ["kill", "power cut"])
@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("step", [Step(call, when) for call in CALLS for when in WHENS], ids=str)
async def test_an_end_between_two_steps_is_made_good_at_the_next_start(
    tmp_path: Path, remains: RemovalWorld, reason: Reason, step: Step, end: str
) -> None:
    async with lab(tmp_path, remains, cut=step) as life:
        await cut_off(life, reason)
        assert life.tombstones.switch.has_happened
        worlds = life.remains_after(kill=end == "kill")
    await go_on(tmp_path, worlds, reason)


async def operations(folder: Path, remains: RemovalWorld, reason: Reason) -> range:
    """Return the numbers of the disk's operations while ``A`` is removed."""
    async with lab(folder, remains) as life:
        first = life.disk.operations
        await life.remove(reason)
        return range(first, life.disk.operations)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("reason", REASONS)
async def test_an_end_at_any_operation_of_the_disk_is_made_good_at_the_next_start(
    tmp_path: Path, remains: RemovalWorld, reason: Reason, when: When
) -> None:
    numbers = await operations(tmp_path, remains, reason)
    assert len(numbers) >= 8
    for number in some(numbers):
        async with lab(tmp_path, remains) as life:
            life.disk.cut_at(number, when=when)
            await cut_off(life, reason)
            worlds = life.remains_after(kill=number % 2 == 0)
        await go_on(tmp_path, worlds, reason)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize(
    "step", [Step(call, when) for call in ("remove", "gone_here") for when in WHENS], ids=str
)
async def test_an_end_while_the_start_makes_good_is_made_good_as_well(
    tmp_path: Path, remains: RemovalWorld, reason: Reason, step: Step
) -> None:
    async with lab(tmp_path, remains, cut=Step("bury", "after")) as life:
        await cut_off(life, reason)
        world = life.remains_after(kill=False)[0]
    worlds: list[RemovalWorld] = []
    with power_cut():
        async with lab(
            tmp_path, world, cut=step, on_end=lambda life: worlds.extend(life.remains_after(kill=False))
        ):
            pytest.fail("the start was not cut off")
    assert worlds
    await go_on(tmp_path, worlds, reason)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("when", WHENS)
async def test_a_store_that_loses_its_answer_is_asked_again(
    tmp_path: Path, remains: RemovalWorld, reason: Reason, when: Literal["before", "after"]
) -> None:
    async with lab(tmp_path, remains, cut=Step("delete_prefix", when, is_power=False)) as life:
        receipt = await life.remove(reason)
        assert (receipt.recordings, receipt.events, receipt.objects, receipt.pending) == (1, 8, 0, 1)
        assert await life.index.recording(TENANT, A) is None
        worlds = life.remains_after(kill=True)
        assert await life.remover.finish() == 0
        await check_gone(life, reason)
    await go_on(tmp_path, worlds, reason)
