"""Memory for events that are still coming in, shared by all senders.

A sender may stop in the middle of an event of 60 MB and keep its connection; a hundred of them would fill
any memory. Small unfinished events count for nothing here: each connection's own bounds suffice.
"""

from __future__ import annotations

import asyncio

from rrd.errors import RefusedError

LARGE_EVENT_BYTES = 1 << 20
"""From here on an unfinished event counts, and decoding goes to a thread."""

_PATIENCE_S = 20.0


class TooMuchUnfinished(RefusedError):
    """Unfinished events take all the memory that there is for them."""

    code = "too_much_unfinished"


class Budget:
    """So many bytes for large unfinished events."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiters: list[asyncio.Future[None]] = []
        self.held_bytes = 0

    async def take(self, size: int) -> None:
        """Take ``size`` bytes. Waits a while if there are none left, then raises ``TooMuchUnfinished``.

        Those who wait keep what they hold, so somebody has to be refused for the others to go on.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while self.held_bytes + size > self._bytes_max:
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            raise TooMuchUnfinished("too many large events are coming in at once; try again later") from None
        self.held_bytes += size

    def give_back(self, size: int) -> None:
        """Give ``size`` bytes back to those who wait."""
        self.held_bytes -= size
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


class Hold:
    """What one sender has taken of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    async def resize(self, unfinished_bytes: int) -> None:
        """Account for an unfinished event of which so much has come. Raises like ``Budget.take``."""
        size = unfinished_bytes if unfinished_bytes >= LARGE_EVENT_BYTES else 0
        if size > self._size:
            await self._budget.take(size - self._size)
        elif size < self._size:
            self._budget.give_back(self._size - size)
        self._size = size

    def release(self) -> None:
        """Give everything back."""
        self._budget.give_back(self._size)
        self._size = 0
