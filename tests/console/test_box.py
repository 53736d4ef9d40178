"""What the console is told of the machine: troubles by table, rows of a day."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from rrd import metrics
from rrd.config import Config
from rrd.console.box import POINTS_MAX, Box, troubles
from rrd.index import home
from rrd.measures import Measures
from tests.wired import ManualClock

GOOD = {
    "diskFreeBytes": 10_000.0, "diskReserveBytes": 1_000.0, "backlogAgeS": 60.0, "memoryBytes": 500.0,
    "memoryMaxBytes": 1_000.0, "refusedInHour": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "codes"),
    [
        ({}, []),
        ({"diskFreeBytes": 2_000}, []),
        ({"diskFreeBytes": 1_999}, ["disk_low"]),
        ({"diskFreeBytes": 1_000}, ["disk_low"]),
        ({"diskFreeBytes": 999}, ["disk_full"]),
        ({"diskFreeBytes": 0, "diskReserveBytes": 0}, []),
        ({"backlogAgeS": 600}, []),
        ({"backlogAgeS": 601}, ["backlog_late"]),
        ({"memoryBytes": 1_001}, ["memory_high"]),
        ({"memoryBytes": 1_001, "memoryMaxBytes": 0}, []),
        ({"refusedInHour": 1}, ["refusals"]),
        (
            {"refusedInHour": 1, "backlogAgeS": 601, "diskFreeBytes": 1},
            ["disk_full", "backlog_late", "refusals"],
        ),
    ],
)
def test_troubles_are_told_the_worst_first(figures: dict[str, float], codes: list[str]) -> None:
    assert [trouble.code for trouble in troubles({**GOOD, **figures}, late_s=600)] == codes


async def test_a_day_of_rows_is_told_as_a_bounded_answer(tmp_path: Path) -> None:
    clock = ManualClock()
    index, _ = await home.open_index(str(tmp_path), home.open_file)
    async with index:
        measures = Measures(str(tmp_path), clock, index)
        box = Box(Config(data_dir=str(tmp_path)), clock, measures)
        first = box.told()
        assert first["series"]["at"] == []  # type: ignore[index]
        for _ in range(400):
            await box.sample()
            clock.seconds += 9.75
            metrics.EVENTS_STORED.add(39)
            clock.skew_s += 1  # A wall clock that is set all the time leaves rates as they are.
        told = orjson.loads(orjson.dumps(box.told()))
    assert 100 < len(told["series"]["at"]) <= POINTS_MAX
    assert {len(values) for values in told["series"].values()} == {len(told["series"]["at"])}
    assert told["now"]["eventsPerS"] == 4
    assert set(told["series"]["eventsPerS"]) == {4}
    assert told["now"]["memoryBytes"] > 10 << 20
    assert told["at"] == clock.now_ms()
    assert told["at"] - told["series"]["at"][-1] == 9750
    assert len(orjson.dumps(told)) < 100_000
