"""A token bucket against its definition: so much at once, and so much more with time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.shares.bucket import Bucket

AMOUNTS = st.floats(0, 1000)
STEPS = st.lists(st.tuples(st.floats(0, 100), AMOUNTS), max_size=20)


@given(STEPS)
def test_it_is_in_debt_by_what_was_taken_beyond_its_depth_and_not_refilled(
    steps: list[tuple[float, float]],
) -> None:
    bucket, now, spent = Bucket(rate=7, depth=50), 0.0, 0.0
    for pause_s, amount in steps:
        now += pause_s
        spent = max(0.0, spent - 7 * pause_s) + amount
        bucket.take(amount, now)
        assert bucket.spent(now) == pytest.approx(spent, abs=1e-6)
        assert bucket.debt_s(now) == pytest.approx(max(0.0, spent - 50) / 7, abs=1e-6)


@given(STEPS, AMOUNTS)
def test_after_the_wait_the_amount_is_there(steps: list[tuple[float, float]], amount: float) -> None:
    bucket, now = Bucket(rate=3, depth=20), 0.0
    for pause_s, taken in steps:
        now += pause_s
        bucket.take(taken, now)
    later = now + bucket.wait_s(amount, now)
    assert bucket.wait_s(amount, later) == 0
    # No more than the depth is ever there at once.
    assert bucket.spent(later) + min(amount, 20) <= 20 + 1e-6 or amount == 0


@given(AMOUNTS)
def test_without_a_rate_there_is_no_limit(amount: float) -> None:
    bucket = Bucket(rate=0, depth=1)
    bucket.take(amount, 1)
    assert (bucket.spent(2), bucket.wait_s(amount, 2), bucket.debt_s(2)) == (0, 0, 0)
