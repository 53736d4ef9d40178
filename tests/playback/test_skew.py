"""How far a page's clock is off, by its blocks' headers."""

from __future__ import annotations

import pytest

from rrd.playback.skew import OFF_MS, Skew, skew_of
from rrd.segment.format import BlockHeader


def header(stored_ms: int, last_ts: float, *, events: int = 1) -> BlockHeader:
    return BlockHeader(0, 0, events, 1, last_ts, last_ts, 1, stored_ms, 1, 1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("blocks", "behind_ms"),
    [
        ([], 0),
        ([(1000, 900.0)], 100),
        ([(1000, 900.4)], 100),
        # One block came an hour late.
        ([(1000, 900.0), (3_602_000, 1900.0), (3000, 2900.0)], 100),
        ([(1000, 3_601_000.0), (2000, 3_602_000.0)], -3_600_000),
        ([(1000, 900.0), (2000, 1800.0)], 100),
    ],
)
def test_the_skew_is_the_median_over_blocks(blocks: list[tuple[int, float]], behind_ms: int) -> None:
    assert skew_of(header(*block) for block in blocks) == Skew(behind_ms, len(blocks))


def test_blocks_without_events_say_nothing_of_a_clock() -> None:
    assert skew_of([header(10**12, 0.0, events=0), header(1000, 900.0)]) == Skew(100, 1)


@pytest.mark.parametrize(
    ("behind_ms", "repair_ms"),
    [(0, 0), (OFF_MS, 0), (-OFF_MS, 0), (OFF_MS + 1, OFF_MS + 1), (-OFF_MS - 1, -OFF_MS - 1)],
)
def test_only_a_clock_that_is_far_off_is_repaired(behind_ms: int, repair_ms: int) -> None:
    assert Skew(behind_ms, 1).repair_ms == repair_ms
