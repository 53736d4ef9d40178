"""The rows that put a load on a daemon run, on next to nothing, and lose nothing on the way."""

from __future__ import annotations

import math

import pytest

from bench import figures
from bench.result import Options, Row
from bench.rows import (
    durability,
    follow,
    idle_sockets,
    large_event,
    many_sockets,
    neighbours,
    paced_visitors,
    steady,
)

SMOKE = Options("smoke")


def values(row: Row) -> dict[str, float]:
    return {check.what: check.value for check in row.checks}


@pytest.mark.slow
def test_the_row_on_many_sockets_loses_nothing() -> None:
    row = many_sockets.measure(SMOKE)
    assert values(row)["events lost or doubled"] == 0
    assert values(row)["sockets refused or cut"] == 0


def test_without_its_library_the_row_on_syncs_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "_eatmydata", lambda: None)
    row = durability.measure_sync(SMOKE)
    assert row.checks[0].is_met is None
    assert figures.verdict(row.checks[0]) == "not measured"
    assert "apt-get install" in row.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure",
    [
        large_event.measure,
        steady.measure,
        many_sockets.measure_deflate,
        neighbours.measure,
        idle_sockets.measure,
        follow.measure,
        paced_visitors.measure,
        paced_visitors.measure_most,
        paced_visitors.measure_storm,
    ],
    ids=lambda m: f"{m.__module__}.{m.__name__}",
)
def test_every_figure_of_a_row_is_a_number(measure: object) -> None:
    assert callable(measure)
    row: Row = measure(SMOKE)
    assert row.checks
    assert not any(math.isnan(value) for value in values(row).values()), row
