"""What figures were at some thousand moments, the oldest forgotten first. Pure.

A row is kept for each moment, in arrays that never grow. Counters are kept as they are, and told as rates: so
however few points are asked for, what was counted between the first and the last is in them. Of a gauge each
point tells the worst that it stands for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise


class Series:
    """``counters`` only grow; of ``gauges`` the greatest counts, of ``floors`` the least."""

    def __init__(
        self, *, counters: Sequence[str], gauges: Sequence[str], floors: Sequence[str], rows_max: int
    ) -> None:
        """``rows_max``: how many moments are kept. Each takes 8 bytes, and as many a figure."""
        self._rows_max = rows_max
        self._counters = tuple(counters)
        self._worst = dict.fromkeys(gauges, max) | dict.fromkeys(floors, min)
        names = ("at", *counters, *gauges, *floors)
        self._columns = {name: array("d", bytes(8 * rows_max)) for name in names}
        self._count = 0

    @property
    def size(self) -> int:
        """Bytes of memory, from the beginning on."""
        return sum(len(column) * column.itemsize for column in self._columns.values())

    def add(self, at: float, figures: Mapping[str, float]) -> None:
        """Keep all figures as they are at ``at``, seconds of a clock that never goes back."""
        slot = self._count % self._rows_max
        self._columns["at"][slot] = at
        for name, column in self._columns.items():
            if name != "at":
                column[slot] = figures[name]
        self._count += 1

    def added_since(self, at: float, now: Mapping[str, float]) -> dict[str, float]:
        """Return by how much each counter has grown up to ``now`` since the last row at ``at`` or before.

        Where all rows are younger, since the oldest. 0 where there are none. ``seconds`` is how long ago that
        row is, if ``now`` has the time as ``at``.
        """
        base = self._oldest
        if base == self._count:
            return dict.fromkeys((*self._counters, "seconds"), 0.0)
        for number in range(self._count - 1, self._oldest - 1, -1):
            base = number
            if self._value("at", number) <= at:
                break
        grown = {name: now[name] - self._value(name, base) for name in self._counters}
        return grown | {"seconds": now["at"] - self._value("at", base)}

    def points(self, points_max: int) -> dict[str, list[float]]:
        """Return all that is kept as at most ``points_max`` points (2 or more), the oldest first.

        ``at`` is a point's last moment. A counter is told per second since the point before.
        """
        groups = list(self._groups(points_max))
        if not groups:
            return {name: [] for name in self._columns}
        told: dict[str, list[float]] = {}
        rows = self._in_order("at")
        told["at"] = [rows[last] for _, last in groups]
        passed = [after - before for before, after in pairwise([rows[0], *told["at"]])]
        for name in self._counters:
            rows = self._in_order(name)
            ends = [rows[0], *(rows[last] for _, last in groups)]
            grown = [after - before for before, after in pairwise(ends)]
            told[name] = [more / max(seconds, 1e-9) for more, seconds in zip(grown, passed, strict=True)]
        for name, worst in self._worst.items():
            rows = self._in_order(name)
            told[name] = [worst(rows[first : last + 1]) for first, last in groups]
        return told

    def _in_order(self, name: str) -> array[float]:
        """Return all that is kept of a figure, the oldest first."""
        column, begin = self._columns[name], self._count % self._rows_max
        return column[begin:] + column[:begin] if self._count > self._rows_max else column[: self._count]

    @property
    def _oldest(self) -> int:
        return max(0, self._count - self._rows_max)

    def _value(self, name: str, number: int) -> float:
        return self._columns[name][number % self._rows_max]

    def _groups(self, points_max: int) -> Iterator[tuple[int, int]]:
        """Yield the first and last row of each point, the oldest that is kept being 0: counting begins there.

        Their edges stay where they are while rows are added, so that a curve doesn't flicker.
        """
        oldest, limit = self._oldest, self._count
        first = oldest + 1
        width = max(1, -(-(limit - first) // (points_max - 1)))
        while first < limit:
            last = min((first // width + 1) * width, limit) - 1
            yield first - oldest, last - oldest
            first = last + 1
