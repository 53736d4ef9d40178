"""When Python's collector of garbage looks at what open sockets hold.

A socket is some hundred and fifty objects for as long as it is open, and none of them is garbage. In a burst
of openings the collector would walk each of them two or three times, in passes of up to 0.7 s with 10,000
sockets: a seventh of all that the burst takes. So while sockets wait for their turns to open, all that is
there is put aside (``gc.freeze``, which takes no time). What is put aside and not needed any more goes at
once, as everything does; only cycles stay. They are looked for once more sockets have ended since than are
open.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sized

ENDED_MIN = 1000
"""With fewer sockets ended since the last look, there is little to find."""

FEW = 500
"""With fewer sockets open a look takes so little that it may come every ``FEW_INTERVAL_S``: a single one that
has ended may hold much."""

FEW_INTERVAL_S = 10

_INTERVAL_S = 1.0


class Garbage:
    """For one event loop. Does nothing until it is switched on: it counts for the whole process."""

    def __init__(self) -> None:
        self.is_on = False
        self._has_aside = self._is_crowded = False
        self._ended = 0
        self._asked = 0
        """How often it was asked since the last look whether one is due."""

    def crowded(self) -> None:
        """Sockets wait for their turns to open: put aside what there is."""
        if self.is_on:
            if not self._has_aside:
                self._has_aside, self._ended = True, 0
            self._is_crowded = True
            gc.freeze()

    def socket_ended(self) -> None:
        self._ended += 1

    def is_due(self, sockets: int) -> bool:
        """Tell whether what was put aside may hold much garbage, with so many ``sockets`` open.

        Where sockets have waited to open since it was asked last, it may be twice as much. It is asked once a
        second.
        """
        self._asked += 1
        if self._ended and sockets < FEW and self._asked >= FEW_INTERVAL_S:
            return self._has_aside
        ended_max = (ENDED_MIN + sockets) * (2 if self._is_crowded else 1)
        self._is_crowded = False
        return self._has_aside and self._ended >= ended_max

    def collect(self) -> None:
        """Collect what there is, of what was put aside, too. Takes 50 ms for each thousand open sockets."""
        self._ended = self._asked = 0
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    async def collect_in_time(self, sockets: Sized) -> None:
        """Collect when it is due, until cancelled. ``sockets``: those that are open, for their count."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            if self.is_due(len(sockets)):
                self.collect()
