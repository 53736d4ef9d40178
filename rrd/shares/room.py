"""A number of places, or bytes, of which one tenant, key or address never gets the last.

The rule is that of dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", 1998): a party may take more as long as it holds less than so many times
what is free. With nine times, a tenant that is alone gets nine tenths; then another finds a tenth, and gets
nine tenths of that at once, and more as places become free, until both hold the same. No list of those who
might come is needed, and nothing but that tenth is kept from those who are there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from rrd.shares.queue import FairQueue, Who


class Times(NamedTuple):
    """How many times what is free each may hold; 0: that is not looked at."""

    tenant: int
    key: int
    address: int


class Ledger:
    """What each party holds of ``size``. Plain numbers: one thread may be in it at a time."""

    __slots__ = ("_bounded", "_held", "_least_times", "free", "size")

    def __init__(self, size: int, times: Times) -> None:
        self.size = size
        self.free = size
        self._bounded = [(level, most) for level, most in enumerate(times) if most]
        """Places of names in ``Who`` that are looked at, and how many times what is free they may hold."""
        self._least_times = min(filter(None, times), default=size)
        self._held: dict[tuple[int, str], int] = {}

    def resize(self, size: int) -> None:
        """Let there be ``size`` in all. What is held stays held; ``free`` is below 0 while that is more."""
        self.free += size - self.size
        self.size = size

    def may_take(self, who: Who, size: int = 1) -> bool:
        """Tell whether so much is free, and not more than the party's share."""
        # Places are counted before the new one is taken, so that a few of them can all be taken.
        free = self.free - size + 1
        if free <= 0:
            return False
        for level, times in self._bounded:
            name = who[level]
            if name and self._held.get((level, name), 0) >= times * free:
                return False
        return True

    def try_take(self, who: Who, size: int = 1) -> bool:
        """Take so much, if ``may_take``."""
        # While all together hold less than a party may, none is looked at: each request comes through here.
        free = self.free - size + 1
        if free <= 0 or (self.size - self.free >= self._least_times * free and not self.may_take(who, size)):
            return False
        self.take(who, size)
        return True

    def take(self, who: Who, size: int = 1) -> None:
        """Note that so much was taken."""
        self.free -= size
        held = self._held
        for level, _ in self._bounded:
            name = who[level]
            if name:
                party = level, name
                held[party] = held.get(party, 0) + size

    def give_back(self, who: Who, size: int = 1) -> None:
        """Note that so much is free again."""
        self.free += size
        held = self._held
        for level, _ in self._bounded:
            name = who[level]
            if name:
                party = level, name
                left = held[party] - size
                if left:
                    held[party] = left
                else:
                    del held[party]


class _Waiter(NamedTuple):
    least: int
    most: int
    granted: asyncio.Future[int]


class Room:
    """Bytes or places, waited for in turn. Belongs to the event loop."""

    def __init__(self, size: int, times: Times) -> None:
        self._ledger = Ledger(size, times)
        self._waiting: FairQueue[_Waiter] = FairQueue()

    @property
    def free(self) -> int:
        return self._ledger.free

    @property
    def size(self) -> int:
        return self._ledger.size

    def resize(self, size: int) -> None:
        """Let there be ``size`` in all, and serve those who wait if there is room for them now."""
        self._ledger.resize(size)
        self._serve()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def try_take(self, who: Who, size: int = 1) -> bool:
        """Take so much, if it may be had at once."""
        return self._ledger.try_take(who, size)

    def give_back(self, who: Who, size: int = 1) -> None:
        """Give so much back to those who wait."""
        self._ledger.give_back(who, size)
        if self._waiting.count:
            self._serve()

    @contextlib.asynccontextmanager
    async def hold(self, who: Who, *, least: int, most: int, patience_s: float) -> AsyncIterator[int]:
        """Hold between ``least`` and ``most`` for as long as the block lasts; yields how much.

        What is more than there is at all is taken for all. Raises ``TimeoutError`` after ``patience_s``.
        """
        size = await self.take(who, least=least, most=most, patience_s=patience_s)
        try:
            yield size
        finally:
            self.give_back(who, size)

    async def take(self, who: Who, *, least: int, most: int, patience_s: float) -> int:
        """Take what ``hold`` holds. The caller gives it back."""
        all_bytes = self._ledger.size
        most = min(max(least, most), all_bytes)
        if not self._waiting.count and self._ledger.try_take(who, most):
            return most
        least = min(least, all_bytes)
        waiter = _Waiter(least, most, asyncio.get_running_loop().create_future())
        self._waiting.push(who, waiter)
        self._serve()
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(waiter.granted)
        except BaseException:
            # It may have been granted in the very turn in which the wait came to its end.
            if waiter.granted.done():
                self.give_back(who, waiter.granted.result())
            else:
                self._waiting.remove(who, waiter)
            raise

    def _serve(self) -> None:
        """Grant what may be taken now, by turns."""
        ledger = self._ledger
        while self._waiting.count and ledger.free > 0:
            # There may be less in all than when the wait began.
            found = self._waiting.pop(
                lambda who, waiter: ledger.may_take(who, min(waiter.least, ledger.size))
            )
            if found is None:
                return
            who, waiter = found
            size = waiter.most if ledger.may_take(who, waiter.most) else min(waiter.least, ledger.size)
            ledger.take(who, size)
            waiter.granted.set_result(size)
