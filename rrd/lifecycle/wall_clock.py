"""How far the wall clock can be believed, so that a wrong date removes nothing.

Beside the wall clock stands a *trusted* time. It goes on with the monotonic clock, and follows the wall
clock by a tenth of the time that passes, which is more than clocks drift. Each look compares the two: what
the wall clock is ahead by is time that no evidence explains.

While the daemon runs, an hour ahead is a jump. Over a restart, or a silence of more than an hour, no clock
has been watched, and an outage looks like a jump: then a share of the shortest age may have passed
(``retention_hold_percent``). In both cases a jump shortens the life of a recording by that share at most.

A wall clock that is behind removes less, and is used as it is. The trusted time stays, since a machine
without a battery starts in the past and is put right by the network; after a day it is the wall clock that
is believed.
"""

from __future__ import annotations

from typing import NamedTuple

from rrd.clock import Clock

JUMP_MS = 3_600_000
"""As much as a running machine's clock is put right by at once, and more. An operator who sets a time zone
wrong is off by an hour."""

SILENCE_MS = 3_600_000
"""Two looks are a minute apart. After a silence longer than this the process, or the machine, stood still."""

_BEHIND_MAX_MS = 24 * 3_600_000
_FOLLOW = 10


class Reading(NamedTuple):
    """What a look at the clocks has shown."""

    wall_ms: int
    ahead_ms: int
    """How much of the wall clock's time is not explained; below 0 if it is behind."""
    is_ahead: bool
    """It is too much to believe: the wall clock is not to be used to remove anything."""
    is_watched: bool
    """The clocks have been watched since the last look."""
    trusted_ms: int

    @property
    def now_ms(self) -> int:
        """The time to remove by: never later than what is believed."""
        return self.trusted_ms if self.is_ahead else self.wall_ms


class WallClock:
    """Compares the wall clock with the monotonic one. For the event loop only."""

    def __init__(
        self, clock: Clock, *, trusted_ms: int | None, was_ahead: bool, age_ms: int | None, percent: int
    ) -> None:
        """Go on from ``trusted_ms``, the time of the last look before; None: no look has been kept.

        ``was_ahead``: the wall clock was not believed then. ``age_ms``: the shortest age that anything is
        removed by, None if there is none. ``percent``: the share of it that an outage may take.
        """
        self._clock = clock
        self.allow(age_ms, percent)
        self._trusted_ms = clock.now_ms() if trusted_ms is None else trusted_ms
        self._is_ahead = was_ahead
        self._looked_at = clock.monotonic()
        self._is_outage = True
        """The clocks were not watched before the next look."""
        self._behind_ms = 0

    def allow(self, age_ms: int | None, percent: int) -> None:
        """Let an outage take this share of this age from the next look on."""
        self._gap_max_ms = None if age_ms is None else age_ms * percent // 100

    def look(self) -> Reading:
        """Compare the clocks now. To be called every minute or so."""
        wall_ms, at = self._clock.now_ms(), self._clock.monotonic()
        passed_ms = int((at - self._looked_at) * 1000)
        is_watched = not self._is_outage and passed_ms <= SILENCE_MS
        passed_ms = min(passed_ms, SILENCE_MS)
        self._looked_at, self._is_outage = at, False
        ahead_ms = wall_ms - self._trusted_ms - passed_ms
        self._trusted_ms += passed_ms
        if self._gap_max_ms is None:
            is_ahead = False
        elif is_watched or self._is_ahead:
            is_ahead = ahead_ms > min(JUMP_MS, self._gap_max_ms)
        else:
            is_ahead = ahead_ms > self._gap_max_ms
        if not is_ahead:
            self._follow(ahead_ms, passed_ms, is_watched=is_watched)
        self._is_ahead = is_ahead
        return Reading(wall_ms, ahead_ms, is_ahead, is_watched, self._trusted_ms)

    def accept(self, ahead_ms: int) -> None:
        """Believe the wall clock as far as it was ahead at some look: a person says that it is right."""
        self._trusted_ms += ahead_ms
        self._is_ahead = False
        self._is_outage = True  # What is left may be one.

    def _follow(self, ahead_ms: int, passed_ms: int, *, is_watched: bool) -> None:
        if ahead_ms >= 0:
            self._behind_ms = 0
            self._trusted_ms += min(ahead_ms, passed_ms // _FOLLOW) if is_watched else ahead_ms
        elif ahead_ms >= -JUMP_MS:
            self._behind_ms = 0
            self._trusted_ms += max(ahead_ms, -(passed_ms // _FOLLOW))
        else:
            self._behind_ms += passed_ms
            if self._behind_ms > _BEHIND_MAX_MS:
                self._trusted_ms += ahead_ms
                self._behind_ms = 0
