"""What every read takes before it begins: memory for its answer, and threads by turns.

Memory, and not a place, is what an answer holds while its taker is slow: a thread serves others between two
chunks. How long a taker may be slow is ``taking``'s to say.
"""

from __future__ import annotations

from concurrent.futures import Executor

from rrd import metrics
from rrd.access.gate import Grant
from rrd.errors import RefusedError
from rrd.http.services import Services
from rrd.shares.queue import Who

READ_SHARE = 4
"""One answer may sort in a quarter of ``read_bytes_max``."""

_PATIENCE_S = 30.0
"""How long a read waits for memory; within twice this, takers that are too slow have been given up."""


class TooManyReads(RefusedError):
    """Answers that are being made take all the memory that there is for them."""

    code = "too_many_reads"
    retry_after_s = 10


def reader_of(grant: Grant) -> Who:
    """Return for whom a read is done."""
    return Who(grant.tenant, grant.key_id)


def lane(services: Services, who: Who, *, is_local: bool) -> Executor:
    """Return threads to read in. Those that may wait for the object store are others."""
    threads = services.reading_threads if is_local else services.object_threads
    return threads.lane(who)


class HeldMemory:
    """Memory (bytes) for one answer, in turn, for as long as a block lasts: ``async with`` tells how much.

    Entering raises ``TooManyReads``.
    """

    __slots__ = ("_least", "_most", "_room", "_size", "_who")

    def __init__(self, services: Services, who: Who, *, least: int, most: int) -> None:
        self._room = services.read_room
        self._who = who
        self._least = least
        self._most = most
        self._size = 0

    async def __aenter__(self) -> int:
        try:
            self._size = await self._room.take(
                self._who, least=self._least, most=self._most, patience_s=_PATIENCE_S
            )
        except TimeoutError:
            raise TooManyReads("too many answers are under way; try again in a moment") from None
        metrics.READERS_OPEN.add(1)
        return self._size

    async def __aexit__(self, *_: object) -> None:
        metrics.READERS_OPEN.add(-1)
        self._room.give_back(self._who, self._size)


reading = HeldMemory
