"""What a measurement says: figures beside their bars, plots, and a word about what they mean.

A row of the table is measured by one function, ``measure(options) -> Row``, in ``bench/rows``. ``bench.run``
runs them and writes them down; ``bench.report`` draws them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

Scale = Literal["full", "quick", "smoke"]


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    scale: Scale = "full"
    """``quick``: the whole table in two minutes, with more noise. ``smoke``: does it run at all?"""

    def pick(self, full: int, quick: int, smoke: int) -> int:
        """Return the number for this scale."""
        return {"full": full, "quick": quick, "smoke": smoke}[self.scale]


class Check(msgspec.Struct, frozen=True):
    """One figure, beside its bar if it has one."""

    what: str
    """Like ``of a bare aiohttp receiver``; it stands behind the value."""
    value: float
    unit: str
    """``%`` (the value 0.7 is shown as 70 %), ``×``, ``ms``, ``KiB``, ``s``, …"""
    bar: float | None = None
    """None: stated, nothing to reach."""
    goal: Literal["at least", "at most"] = "at least"
    least: float | None = None
    """The spread over the rounds."""
    most: float | None = None
    is_measured: bool = True
    """False where what it takes is not installed: the value means nothing, a note says what is missing."""

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is reached; None without a bar or a measurement. No number reaches nothing."""
        if self.bar is None or not self.is_measured:
            return None
        return self.value >= self.bar if self.goal == "at least" else self.value <= self.bar


class Rate(msgspec.Struct, frozen=True):
    """How one of those that were compared did: the median of the rounds, and their spread."""

    name: str
    unit: str
    median: float
    least: float
    most: float


class Series(msgspec.Struct, frozen=True):
    """One line of a plot."""

    name: str
    points: list[tuple[float, float]]


class Plot(msgspec.Struct, frozen=True):
    """Lines over an axis."""

    title: str
    x: str
    """Axis and unit, like ``events a second``."""
    y: str
    series: list[Series]
    is_log_x: bool = False
    is_log_y: bool = False


class Row(msgspec.Struct, frozen=True):
    """One row of the table, measured."""

    number: int
    """As in the table of ``bench/README.md``, from 1."""
    title: str
    checks: list[Check]
    rates: list[Rate] = []
    plots: list[Plot] = []
    notes: list[str] = []
    """Sentences for whoever reads the figures: what was left out, what the load generator's limit was."""
    took_s: float = 0.0


def rate(name: str, unit: str, values: Sequence[float]) -> Rate:
    """Sum up the rounds of one of those compared."""
    return Rate(name, unit, statistics.median(values), min(values), max(values))


def ratio(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    bar: float | None = None,
    unit: str = "%",
    goal: Literal["at least", "at most"] = "at least",
) -> Check:
    """Compare round by round, so that a slow moment of the machine hits both sides; return the median."""
    ratios = [our / their if their else math.nan for our, their in zip(ours, theirs, strict=True)]
    return Check(what, statistics.median(ratios), unit, bar, goal, min(ratios), max(ratios))
