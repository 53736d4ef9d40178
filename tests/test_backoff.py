"""Pauses between tries."""

from __future__ import annotations

import pytest

from rrd.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "ceiling_s"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (1000, 60), (10**9, 60)],
)
def test_pauses_double_up_to_the_greatest(failures: int, ceiling_s: float) -> None:
    for chance in (0.0, 0.5, 1.0):
        backoff = Backoff(1.0, 60.0, chance=lambda chance=chance: chance)  # type: ignore[misc]
        backoff.failures = failures
        assert backoff.pause_s() == chance * ceiling_s
        assert backoff.is_longest == (ceiling_s == 60)


def test_a_success_ends_the_doubling_and_pauses_differ() -> None:
    backoff = Backoff(1.0, 60.0)
    backoff.failures = 7
    assert len({backoff.pause_s() for _ in range(20)}) > 1
    backoff.failures = 0
    assert all(0 <= backoff.pause_s() <= 1 for _ in range(20))
