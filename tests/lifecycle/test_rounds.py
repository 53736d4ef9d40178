"""Retention's rounds in simulated time: which clocks and settings remove, and which wait for a person.

Method: the daemon's core on a simulated disk, with a clock whose wall time can be wrong (``skew_s``) while
the recordings and the monotonic clock go on. A restart makes retention anew from what it has kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rrd.config import Config
from rrd.errors import ConfigError, NotFound
from rrd.lifecycle.holds import Holds
from rrd.lifecycle.rounds import Retention
from tests.lifecycle.removal_lab import RemovalLab, lab
from tests.rollup.rollup_lab import TENANT, settings

pytestmark = pytest.mark.table

HOUR_S, DAY_S = 3600, 86_400


def name(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


class World:
    """A life, and retention that is started again and again in it."""

    def __init__(self, life: RemovalLab, data_dir: Path) -> None:
        self.life = life
        self.clock = life.clock
        self.holds = Holds(Config(data_dir=str(data_dir)))
        self.retention: Retention

    def start(self, **values: Any) -> None:
        self.retention = Retention(
            settings(**values),
            self.life.index,
            self.life.remover,
            self.clock,
            self.holds,
            self.life.tombstones,
        )

    async def store(self, *numbers: int) -> None:
        await self.life.fill(*map(name, numbers), count=1)

    async def rounds(self, seconds: float = 0.0, *, step_s: float = HOUR_S) -> int:
        """Let time pass, a round each hour, and one at once; return how many recordings went."""
        count = await self.retention.round()
        while seconds > 0:
            self.clock.seconds += min(step_s, seconds)
            seconds -= step_s
            count += await self.retention.round()
        return count

    async def left(self) -> int:
        tenants = {tenant.name: tenant.recordings for tenant in await self.life.index.tenants()}
        return tenants.get(TENANT, 0)

    def held(self) -> list[str]:
        return sorted(self.holds.load().holds)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with lab(tmp_path) as life:
        made = World(life, tmp_path)
        yield made
        life.acked.clear()


MONTH = {"retention_age": "30d"}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "values", [MONTH, {"retention_age_of_tenant": (f"{TENANT}=30d",)}, {"retention_age": "36h"}]
)
@pytest.mark.parametrize(
    "jump_s", [31 * DAY_S, *(pytest.param(days * DAY_S, marks=pytest.mark.slow) for days in (365, 20_000))]
)
async def test_a_jump_removes_nothing_says_so_and_ends_when_it_is_put_back(
    world: World, jump_s: int, values: dict[str, Any], restart: bool
) -> None:
    world.start(**values)
    await world.rounds()
    await world.store(*range(12))
    await world.rounds(60, step_s=60)
    world.clock.skew_s = jump_s
    if restart:
        world.start(**values)
    assert await world.rounds(6 * HOUR_S) == 0
    world.start(**values)
    assert await world.rounds(6 * HOUR_S) == 0
    assert await world.left() == 12
    assert world.held() == ["clock"]
    assert ["wall clock" in text for text in world.retention.held()] == [True]
    world.clock.skew_s = 0
    assert await world.rounds(60, step_s=60) == 0
    assert world.held() == []
    assert await world.left() == 12
    # Where it was wrong once, ageing goes on as if it had not been.
    world.clock.skew_s = 0
    assert await world.rounds(31 * DAY_S) == 12


async def test_a_jump_forgets_no_tombstone(world: World) -> None:
    world.start()
    await world.rounds()
    await world.store(1, 2)
    await world.life.remover.erase(TENANT, name(1))
    for skew_s, is_kept in ((500 * DAY_S, True), (0, True)):
        world.clock.skew_s = skew_s
        for _ in range(2):
            await world.rounds(2 * HOUR_S)
            assert (world.life.tombstones.erased(TENANT, name(1)) is not None) is is_kept
            world.start()
    world.clock.skew_s = 500 * DAY_S
    await world.rounds()
    assert world.held() == ["clock"]
    world.holds.confirm()
    await world.rounds()
    assert world.life.tombstones.erased(TENANT, name(1)) is None


async def test_fewer_days_for_tombstones_wait_too(world: World) -> None:
    world.start()
    await world.store(1)
    await world.life.remover.erase(TENANT, name(1))
    await world.rounds(3 * DAY_S)
    world.start(tombstone_days=2)
    await world.rounds()
    assert world.held() == ["tombstones"]
    assert world.life.tombstones.erased(TENANT, name(1)) is not None
    world.holds.confirm()
    await world.rounds()
    assert world.life.tombstones.erased(TENANT, name(1)) is None


async def test_a_confirmed_jump_removes_what_was_due_by_it(world: World) -> None:
    world.start(**MONTH)
    await world.store(*range(5))
    await world.rounds()
    world.clock.skew_s = 20 * DAY_S
    assert await world.rounds(11 * DAY_S) == 0
    (hold,) = world.holds.confirm()
    assert hold.what == "clock"
    assert await world.rounds(60, step_s=60) == 5
    assert world.held() == []
    with pytest.raises(NotFound):
        world.holds.confirm()


async def test_a_confirmation_is_for_what_was_held_then(world: World) -> None:
    world.start(**MONTH)
    await world.store(*range(5))
    await world.rounds()
    world.clock.skew_s = 10 * DAY_S
    await world.rounds(60, step_s=60)
    world.holds.confirm()
    world.clock.skew_s = 50 * DAY_S
    assert await world.rounds(600, step_s=60) == 0
    assert world.held() == ["clock"]
    assert await world.left() == 5


@pytest.mark.parametrize("pattern", ["one a day", "all at once", "the last hours of a day"])
@pytest.mark.parametrize("restart_each_day", [False, True])
async def test_ageing_day_by_day_is_never_held(world: World, pattern: str, restart_each_day: bool) -> None:
    world.start(retention_age="5d")
    numbers = iter(range(1000))
    for day in range(12):
        if pattern == "one a day" or (pattern == "all at once" and day == 0):
            await world.store(*(next(numbers) for _ in range(1 if pattern == "one a day" else 20)))
        await world.rounds(20 * HOUR_S)
        if pattern == "the last hours of a day" and day < 3:
            await world.store(*(next(numbers) for _ in range(4)))
        await world.rounds(4 * HOUR_S)
        assert world.held() == []
        if restart_each_day:
            world.clock.seconds += HOUR_S
            world.start(retention_age="5d")
    assert await world.left() == (4 if pattern == "one a day" else 0)


@pytest.mark.slow
async def test_a_first_setting_on_old_data_waits_and_new_data_does_not(world: World) -> None:
    world.start()
    await world.store(*range(5))
    await world.rounds(40 * DAY_S)
    world.start(**MONTH)
    assert await world.rounds(5 * HOUR_S) == 0
    assert world.held() == ["age"]
    world.start(**MONTH)
    assert await world.rounds(HOUR_S) == 0
    world.holds.confirm()
    assert await world.rounds() == 5
    assert world.held() == []
    # In effect, it needs no more confirmations.
    await world.store(*range(10, 13))
    assert await world.rounds(31 * DAY_S) == 3


async def test_a_setting_that_is_taken_back_leaves_nothing_held(world: World) -> None:
    world.start()
    await world.store(*range(5))
    await world.rounds(40 * DAY_S)
    world.start(**MONTH)
    await world.rounds()
    assert world.held() == ["age"]
    world.start()
    assert await world.rounds() == 0
    assert world.held() == []
    assert await world.left() == 5


async def test_a_limit_of_bytes_on_much_waits_and_a_flood_later_does_not(world: World) -> None:
    world.start()
    await world.store(*range(5))
    await world.rounds(HOUR_S)
    (tenant,) = await world.life.index.tenants()
    values = {"retention_bytes_max": tenant.storage_bytes // 2}
    world.start(**values)
    assert await world.rounds(HOUR_S) == 0
    assert world.held() == ["bytes"]
    world.holds.confirm()
    assert await world.rounds() == 3
    await world.store(*range(10, 30))
    await world.rounds(HOUR_S)
    assert world.held() == []
    (tenant,) = await world.life.index.tenants()
    assert tenant.storage_bytes <= values["retention_bytes_max"]


async def test_what_was_stored_by_a_clock_that_was_behind_is_not_removed(world: World) -> None:
    world.start(**MONTH)
    await world.store(*range(20))
    await world.rounds(2 * HOUR_S)
    world.clock.skew_s = -31 * DAY_S
    await world.store(50)
    await world.rounds(2 * HOUR_S)
    world.clock.skew_s = 0
    world.start(**MONTH)
    assert await world.rounds(2 * HOUR_S) == 0
    assert world.held() == ["times"]
    world.holds.confirm()
    assert await world.rounds() == 1
    assert world.held() == []
    assert await world.left() == 20


async def test_a_data_directory_without_what_was_kept_waits(world: World, tmp_path: Path) -> None:
    world.start(**MONTH)
    await world.store(*range(5))
    await world.rounds()
    world.clock.seconds += 31 * DAY_S
    for content in (b"", b"{", None):
        path = tmp_path / "retention.json"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        world.start(**MONTH)
        assert await world.rounds(HOUR_S) == 0
        assert world.held() == ["age", "clock"]
    world.holds.confirm()
    assert await world.rounds() == 5
    assert world.held() == []


async def test_settings_that_wait_by_a_wrong_clock_only_wait_no_more_when_it_is_right(world: World) -> None:
    await world.store(*range(5))
    world.clock.skew_s = 31 * DAY_S
    world.start(**MONTH)
    assert await world.rounds(HOUR_S) == 0
    assert world.held() == ["age", "clock"]
    world.clock.skew_s = 0
    assert await world.rounds(HOUR_S) == 0
    assert world.held() == []
    assert await world.left() == 5


# Settings that are read again while rounds are made


async def test_new_settings_count_from_the_next_round_and_are_held_where_they_remove_much(
    world: World,
) -> None:
    world.start()
    await world.store(*range(20))
    await world.rounds(5 * DAY_S)
    world.retention.reconfigure(settings(retention_age="36h"))
    assert await world.rounds(DAY_S) == 0
    assert world.held() == ["age"]
    assert await world.left() == 20
    # Taken back, and then ones that remove nothing.
    world.retention.reconfigure(settings())
    assert await world.rounds() == 0
    assert world.held() == []
    world.retention.reconfigure(settings(retention_age="30d"))
    assert await world.rounds(DAY_S) == 0
    assert world.held() == []
    assert await world.rounds(31 * DAY_S) == 20


async def test_a_round_under_way_removes_by_the_settings_that_it_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    await world.store(*range(20))
    await world.rounds(5 * DAY_S)
    considered = world.retention._consider

    async def reconfigured_meanwhile(*args: Any) -> None:
        await considered(*args)
        world.retention.reconfigure(settings(retention_age="36h", retention_bytes_max=1))

    with monkeypatch.context() as patch:
        patch.setattr(world.retention, "_consider", reconfigured_meanwhile)
        assert await world.retention.round() == 0
    assert await world.rounds(DAY_S) == 0
    assert world.held() == ["age", "bytes"]
    assert await world.left() == 20


@pytest.mark.parametrize("restart", [False, True])
async def test_who_confirms_settings_has_not_confirmed_those_that_came_since(
    world: World, restart: bool
) -> None:
    world.start(retention_age="4d")
    await world.store(*range(20))
    await world.rounds(DAY_S)
    narrower = {"retention_age": "1h"}
    world.start(retention_age="20h")
    await world.rounds()
    assert world.held() == ["age"]
    world.holds.confirm()
    if restart:
        world.start(**narrower)
    else:
        world.retention.reconfigure(settings(**narrower))
    assert await world.rounds() == 0
    assert world.held() == ["age"]
    assert await world.left() == 20
    world.holds.confirm()
    assert await world.rounds() == 20


async def test_a_share_of_the_age_that_is_set_then_is_what_a_jump_may_take(world: World) -> None:
    world.start()
    await world.store(*range(20))
    await world.rounds()
    world.retention.reconfigure(settings(retention_age="30d", retention_hold_percent=100))
    await world.rounds()
    world.clock.skew_s = 31 * DAY_S
    assert await world.rounds() == 0
    assert world.held() == ["clock"]


def test_settings_that_cannot_be_read_are_refused_before_any_is_taken(world: World) -> None:
    world.start()
    with pytest.raises(ConfigError, match="retention_age"):
        world.retention.reconfigure(settings(retention_age="soon"))
    assert world.retention._next is None
