from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.lifecycle.wall_clock import WallClock
from tests.wired import ManualClock

HOUR_S, DAY_S = 3600, 86_400
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, HOUR_S * 1000, DAY_S * 1000


def watch(
    clock: ManualClock, *, age_ms: int | None = 30 * DAY_MS, trusted_ms: int | None = None
) -> WallClock:
    kept = clock.now_ms() if trusted_ms is None else trusted_ms
    return WallClock(clock, trusted_ms=kept, was_ahead=False, age_ms=age_ms, percent=10)


class Case(NamedTuple):
    age_ms: int | None
    jump_s: float
    running: bool
    """Whether a running daemon stops to believe the clock."""
    restarted: bool
    """Whether one that is started after it does."""


CASES = {
    "NTP puts it right": Case(30 * DAY_MS, 1, running=False, restarted=False),
    "half an hour": Case(30 * DAY_MS, HOUR_S / 2, running=False, restarted=False),
    "two hours": Case(30 * DAY_MS, 2 * HOUR_S, running=True, restarted=False),
    "a weekend": Case(30 * DAY_MS, 2.9 * DAY_S, running=True, restarted=False),
    "a week": Case(30 * DAY_MS, 7 * DAY_S, running=True, restarted=True),
    "the wrong month": Case(30 * DAY_MS, 31 * DAY_S, running=True, restarted=True),
    "the wrong year": Case(30 * DAY_MS, 365 * DAY_S, running=True, restarted=True),
    "half an hour, of an hour": Case(HOUR_MS, HOUR_S / 2, running=True, restarted=True),
    "five minutes, of an hour": Case(HOUR_MS, 300, running=False, restarted=False),
    "a month, of tombstones alone": Case(400 * DAY_MS, 31 * DAY_S, running=True, restarted=False),
    "a year, of tombstones alone": Case(400 * DAY_MS, 365 * DAY_S, running=True, restarted=True),
    "nothing is removed by age": Case(None, 365 * DAY_S, running=False, restarted=False),
    "back": Case(30 * DAY_MS, -31 * DAY_S, running=False, restarted=False),
    "to 1970": Case(30 * DAY_MS, -1_600_000_000, running=False, restarted=False),
}


@pytest.mark.parametrize("case", CASES)
def test_which_jumps_are_believed(case: str) -> None:
    age_ms, jump_s, running, restarted = CASES[case]
    clock = ManualClock()
    watching = watch(clock, age_ms=age_ms)
    before = watching.look()
    clock.seconds += 60
    clock.skew_s = jump_s
    reading = watching.look()
    assert reading.is_ahead is running
    if running:
        assert reading.now_ms == before.wall_ms + MINUTE_MS
    assert watch(clock, age_ms=age_ms, trusted_ms=before.trusted_ms).look().is_ahead is restarted


@given(st.lists(st.floats(-40 * DAY_S, 40 * DAY_S), max_size=5))
def test_whatever_the_clock_did_put_back_it_is_believed_and_was_never_overtaken(jumps: list[float]) -> None:
    clock = ManualClock()
    watching = watch(clock)
    start = watching.look().wall_ms
    for skew_s in (*jumps, 0.0):
        clock.skew_s = skew_s
        for _ in range(3):
            clock.seconds += 60
            reading = watching.look()
            # An hour, and a tenth of the time that passes, is all that a jump may win.
            passed_ms = clock.seconds * 1000 - start
            assert reading.now_ms <= start + 1.1 * passed_ms + HOUR_MS + 1
    assert not reading.is_ahead
    assert reading.now_ms == clock.now_ms()


def test_a_clock_that_runs_twice_as_fast_is_noticed() -> None:
    clock = ManualClock()
    watching = watch(clock)
    for minute in range(120):
        clock.seconds += 60
        clock.skew_s = 60 * minute
        if watching.look().is_ahead:
            return
    pytest.fail("it was believed for two hours")


def test_a_year_day_by_day_is_believed_with_drift_and_restarts() -> None:
    clock = ManualClock()
    watching = watch(clock)
    for hour in range(365 * 24):
        clock.seconds += HOUR_S
        clock.skew_s = hour * 0.36  # 100 ppm
        reading = watching.look()
        assert not reading.is_ahead
        if hour % 100 == 99:
            clock.seconds += 2 * DAY_S
            watching = watch(clock, trusted_ms=reading.trusted_ms)


def test_both_clocks_at_once_are_not_believed() -> None:
    # As where a virtual machine goes on from a snapshot with a wrong time.
    clock = ManualClock()
    watching = watch(clock)
    watching.look()
    clock.seconds += 31 * DAY_S
    assert watching.look().is_ahead


def test_a_machine_that_starts_in_the_past_is_put_right_by_the_network() -> None:
    clock = ManualClock()
    before = watch(clock).look()
    clock.seconds += 600
    clock.skew_s = -1_600_000_000
    watching = watch(clock, trusted_ms=before.trusted_ms)
    assert not watching.look().is_ahead
    clock.skew_s = 0
    clock.seconds += 60
    assert not watching.look().is_ahead


def test_a_clock_that_is_behind_for_a_day_is_the_right_one() -> None:
    clock = ManualClock()
    clock.skew_s = 31 * DAY_S
    watching = watch(clock)
    watching.look()
    clock.skew_s = 0
    for _ in range(26):
        clock.seconds += HOUR_S
        assert not watching.look().is_ahead
    clock.skew_s = 31 * DAY_S
    clock.seconds += 60
    assert watching.look().is_ahead


def test_what_a_person_confirms_is_believed_and_no_more() -> None:
    clock = ManualClock()
    watching = watch(clock)
    watching.look()
    clock.seconds += 60
    clock.skew_s = 31 * DAY_S
    reading = watching.look()
    clock.skew_s = 62 * DAY_S
    clock.seconds += 60
    watching.look()
    watching.accept(reading.ahead_ms)
    clock.seconds += 60
    again = watching.look()
    assert again.is_ahead
    assert again.ahead_ms == pytest.approx(31 * DAY_MS, abs=1)
    watching.accept(again.ahead_ms)
    assert not watching.look().is_ahead
