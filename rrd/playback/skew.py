"""How far a recording's own clock is from the server's, told from its blocks' headers alone. Pure.

Each block says when it was stored, and the greatest timestamp in it. What lies between is the delay on the
way, and how much the page's clock is off. The median passes over the few blocks that came late, or hold a
time that is out of order.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low
from typing import NamedTuple

from rrd.playback.table import PlaybackTable
from rrd.segment.format import BlockHeader

OFF_MS = 5 * 60 * 1000
"""Beyond this it is the clock: less may be the delay of events that waited for a connection."""


class Skew(NamedTuple):
    """What a recording's events are behind the server's clock."""

    behind_ms: int
    """The median over blocks; less than 0 where their clock is ahead."""
    blocks: int
    """How many blocks with events there are."""

    @property
    def is_off(self) -> bool:
        return abs(self.behind_ms) > OFF_MS

    @property
    def repair_ms(self) -> int:
        """What is to be added to timestamps: 0 where the clock is right."""
        return self.behind_ms if self.is_off else 0


def skew_of(headers: Iterable[BlockHeader]) -> Skew:
    """Return the skew that blocks tell; 0 without any events."""
    behind = [round(header.stored_ms - header.last_ts) for header in headers if header.event_count]
    return Skew(median_low(behind) if behind else 0, len(behind))


def skew_of_table(table: PlaybackTable) -> Skew:
    """Return the skew of a recording of which a table lists all blocks. Some 2 µs a block."""
    return skew_of(table.block(number)[1] for number in range(len(table)))
