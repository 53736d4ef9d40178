"""Rates, sums and durations of now, from counters that only grow."""

from __future__ import annotations

import pytest

from rrd import metrics
from rrd.http.pulse import Pulse, quantile
from tests.wired import ManualClock

BOUNDS = metrics.BOUNDS_S


def test_rates_are_those_of_the_last_half_minute_and_sums_those_of_the_hour() -> None:
    clock = ManualClock()
    pulse = Pulse(clock)
    for _ in range(2 * 720):  # Two hours of ten events a second.
        clock.seconds += 5
        metrics.EVENTS_STORED.add(50)
        pulse.sample()
    assert pulse.rates()["events_per_s"] == 10
    assert pulse.hour()["events"] == 36_000
    for _ in range(6):
        clock.seconds += 5
        pulse.sample()
    assert pulse.rates()["events_per_s"] == 0
    assert pulse.hour()["events"] == 36_000 - 300


def test_a_start_tells_what_was_since_then() -> None:
    clock = ManualClock()
    pulse = Pulse(clock)
    assert set(pulse.rates().values()) == {0}
    clock.seconds += 2
    metrics.EVENTS_STORED.add(4)
    assert pulse.rates()["events_per_s"] == 2
    assert pulse.hour()["events"] == 4
    metrics.PROBLEMS.add("warning")
    metrics.PROBLEMS.add("critical")
    assert pulse.hour()["errors"] == 1


def test_what_took_no_time_lately_has_no_duration() -> None:
    clock = ManualClock()
    pulse = Pulse(clock)
    assert pulse.latencies() == {}
    metrics.COMMIT.observe(0.004)
    assert set(pulse.latencies()) == {"commit"}
    for _ in range(6):
        clock.seconds += 5
        pulse.sample()
    assert pulse.latencies() == {}


@pytest.mark.parametrize("at", range(len(BOUNDS)))
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 1.0])
def test_a_quantile_is_in_the_range_that_was_counted(at: int, share: float) -> None:
    counts = [0] * (len(BOUNDS) + 1)
    counts[at] = 7
    low = BOUNDS[at - 1] if at else 0.0
    assert low <= quantile(counts, share) <= BOUNDS[at]
    assert quantile(counts, 1.0) == BOUNDS[at]


def test_quantiles_grow_with_the_share_and_end_at_the_last_bound() -> None:
    counts = [1, 0, 3, 5, 0, 9, *([0] * (len(BOUNDS) - 6)), 4]
    found = [quantile(counts, share / 100) for share in range(101)]
    assert found == sorted(found)
    assert found[-1] == BOUNDS[-1]
    assert quantile([0] * len(BOUNDS) + [1], 0.5) == BOUNDS[-1]
