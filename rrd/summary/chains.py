"""What depends on the events that arrived before: inputs that go on in one field, and bursts of clicks.

Both look back a fixed number of events in order of arrival, so that what happens where two runs meet follows
from the end of one and the start of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import NamedTuple

import msgspec

BURST_MS = 1000
BURST_PX = 24
_LOOK_BACK = 3

Click = tuple[float, float, float]
"""Timestamp in ms, and where: x, y in px."""


class Clicks(msgspec.Struct, omit_defaults=True):
    """Bursts of clicks: three within 1 s and 24 px. Clicks that go on so belong to the burst."""

    bursts: int = 0
    first: list[Click] = []
    """The first three, by arrival."""
    last: list[Click] = []
    """The last three."""

    def add(self, click: Click) -> None:
        """Take in the next click."""
        self.bursts += _begins(self.last, click)
        if len(self.first) < _LOOK_BACK:
            self.first = [*self.first, click]
        self.last = [*self.last, click][-_LOOK_BACK:]

    def join(self, after: Clicks) -> None:
        """Take in the clicks of the run after this one."""
        self.bursts += after.bursts
        seen: list[Click] = []
        for click in after.first:
            self.bursts += _begins(self.last + seen, click) - _begins(seen, click)
            seen.append(click)
        self.first = [*self.first, *after.first][:_LOOK_BACK]
        self.last = [*self.last, *after.last][-_LOOK_BACK:]


def _is_rage(before: Sequence[Click], click: Click) -> bool:
    """Tell whether a click and the two before it are within 1 s and 24 px of one another."""
    if len(before) < 2:
        return False
    three = (*before[-2:], click)
    times = [each[0] for each in three]
    if max(times) - min(times) > BURST_MS:
        return False
    return all(
        hypot(one[1] - other[1], one[2] - other[2]) <= BURST_PX
        for number, one in enumerate(three)
        for other in three[:number]
    )


def _begins(before: Sequence[Click], click: Click) -> bool:
    """Tell whether a burst is complete with this click, and was not before."""
    return _is_rage(before, click) and not (before and _is_rage(before[:-1], before[-1]))


class Counted(NamedTuple):
    """An input that counts: the node, and the event's timestamp and sequenceId."""

    node: int
    timestamp: float
    seq: int


class Inputs(msgspec.Struct, omit_defaults=True):
    """Inputs: those that follow one another in the same node count once, until a Meta event comes."""

    first: Counted | None = None
    """The first one, if no Meta event came before."""
    last: int | None = None
    """Node of the last one, if no Meta event came since."""
    is_cut: bool = False
    """A Meta event came."""

    def add(self, node: int, timestamp: float, seq: int) -> bool:
        """Take in the next input; tell whether it counts."""
        if self.last is None and self.first is None and not self.is_cut:
            self.first = Counted(node, timestamp, seq)
        counts = node != self.last
        self.last = node
        return counts

    def cut(self) -> None:
        """Take in a Meta event: nodes have other numbers from here on."""
        self.last, self.is_cut = None, True

    def join(self, after: Inputs) -> Counted | None:
        """Take in the run after this one; return the input in it that doesn't count any more."""
        begun = after.first
        twice = begun if begun is not None and begun.node == self.last else None
        if self.first is None and not self.is_cut:
            self.first = begun
        if after.is_cut or after.last is not None:
            self.last = after.last
        self.is_cut = self.is_cut or after.is_cut
        return twice
