"""A ring of figures: what is thinned out is not lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.console.series import Series

ROWS = st.lists(
    st.tuples(st.integers(1, 600), st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 10**12)),
    max_size=90,
)
"""Seconds since the row before, what was counted since, a gauge, a floor."""


def filled(rows: list[tuple[int, int, int, int]], rows_max: int) -> tuple[Series, list[dict[str, float]]]:
    series = Series(counters=["sum"], gauges=["most"], floors=["least"], rows_max=rows_max)
    at, total, kept = 0, 0, []
    for seconds, counted, gauge, floor in rows:
        at, total = at + seconds, total + counted
        figures: dict[str, float] = {"sum": total, "most": gauge, "least": floor}
        series.add(at, figures)
        kept.append({**figures, "at": at})
    return series, kept[-rows_max:]


@given(ROWS, st.integers(1, 40), st.integers(2, 30))
def test_few_points_hold_what_all_rows_hold(
    rows: list[tuple[int, int, int, int]], rows_max: int, points_max: int
) -> None:
    series, kept = filled(rows, rows_max)
    points = series.points(points_max)
    assert {len(values) for values in points.values()} == {len(points["at"])}
    assert len(points["at"]) <= points_max
    if len(kept) < 2:
        assert points["at"] == []
        return
    edges = [kept[0]["at"], *points["at"]]
    assert all(before < after for before, after in pairwise(edges))
    assert edges[-1] == kept[-1]["at"]
    passed = [after - before for before, after in pairwise(edges)]
    counted = sum(rate * seconds for rate, seconds in zip(points["sum"], passed, strict=True))
    assert counted == pytest.approx(kept[-1]["sum"] - kept[0]["sum"])
    assert max(points["most"]) == max(row["most"] for row in kept[1:])
    assert min(points["least"]) == min(row["least"] for row in kept[1:])


@given(ROWS, st.integers(1, 40), st.integers(0, 5000), st.integers(0, 10**6))
def test_what_was_added_since_is_told_from_the_last_row_before(
    rows: list[tuple[int, int, int, int]], rows_max: int, back: int, more: int
) -> None:
    series, kept = filled(rows, rows_max)
    end = kept[-1] if kept else {"at": 0.0, "sum": 0.0}
    now = {"at": end["at"] + 1, "sum": end["sum"] + more}
    since = now["at"] - back
    base = next((row for row in reversed(kept) if row["at"] <= since), kept[0] if kept else now)
    told = series.added_since(since, now)
    assert told == {"sum": now["sum"] - base["sum"], "seconds": now["at"] - base["at"]}


def test_edges_of_points_stay_where_they_are_while_rows_are_added() -> None:
    series = Series(counters=["sum"], gauges=[], floors=[], rows_max=1000)
    before: set[float] = set()
    for at in range(400):
        series.add(at, {"sum": at})
        told = series.points(300)["at"][:-1]
        if at > 310:  # From here to the end a point is of two rows.
            assert before <= {*told}
            before = {*told}


def test_it_never_grows() -> None:
    series = Series(counters=["sum"], gauges=["most"], floors=[], rows_max=10)
    size = series.size
    for at in range(35):
        series.add(at, {"sum": at, "most": at})
    assert series.size == size == 3 * 10 * 8
