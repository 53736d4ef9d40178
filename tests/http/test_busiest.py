"""Which recordings are busiest: by real recordings that grow between two looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rrd.config import Config
from rrd.daemon.assembly import Seams
from rrd.http.busiest import RECORDINGS_MAX, Busiest, Look
from tests.samples import some_events
from tests.wired import Core, ManualClock, numbered_id, wired


def lab(tmp_path: Path) -> Any:
    return wired(Core, Config(data_dir=str(tmp_path), disk_reserve_bytes=0), Seams(clock=ManualClock()))


async def test_what_grew_between_two_looks_is_told_the_busiest_first(tmp_path: Path) -> None:
    async with lab(tmp_path) as core:
        busiest = Busiest(core.registry.opened, core.clock)
        await core.post(*some_events(5), recording_id=numbered_id(1))
        assert await busiest.look() == Look()
        core.clock.seconds += 2
        await core.post(*some_events(8), recording_id=numbered_id(2))
        await core.post(*some_events(30)[5:], recording_id=numbered_id(1), tenant="t")
        await core.post(*some_events(2), recording_id=numbered_id(3), tenant="other")
        look = await busiest.look()
        assert look.over_s == 2
        assert [(row.id, row.events_per_s) for row in look.recordings] == [
            (numbered_id(1), 12.5), (numbered_id(2), 4.0), (numbered_id(3), 1.0),
        ]  # fmt: skip
        assert [(row.name, row.recordings, row.events_per_s) for row in look.tenants] == [
            ("t", 2, 16.5), ("other", 1, 1.0),
        ]  # fmt: skip
        assert all(row.bytes_per_s > 0 for row in look.recordings)
        assert all(row.bytes_per_s > 0 for row in look.tenants)
        core.clock.seconds += 1
        look = await busiest.look()
        assert look.recordings == ()
        assert [row.recordings for row in look.tenants] == [2, 1]
        busiest.forget()


async def test_questions_within_a_second_share_a_look_and_an_old_one_is_forgotten(tmp_path: Path) -> None:
    async with lab(tmp_path) as core:
        busiest = Busiest(core.registry.opened, core.clock)
        await busiest.look()
        core.clock.seconds += 1
        await core.post(*some_events(5))
        first = await busiest.look()
        core.clock.seconds += 0.5
        assert await busiest.look() is first
        busiest.forget()
        assert await busiest.look() == Look()
        busiest.forget()


async def test_an_answer_is_bounded_however_many_are_written_to(tmp_path: Path) -> None:
    async with lab(tmp_path) as core:
        busiest = Busiest(core.registry.opened, core.clock)
        await busiest.look()
        core.clock.seconds += 1
        for number in range(RECORDINGS_MAX + 5):
            await core.post(
                *some_events(1 + number % 3), recording_id=numbered_id(number), tenant=f"t{number}"
            )
        look = await busiest.look()
        assert len(look.recordings) == len(look.tenants) == RECORDINGS_MAX
        assert look.recordings[0].events_per_s == 3
        busiest.forget()
