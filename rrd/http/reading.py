"""What every read takes before it begins: memory for its answer, and threads by turns.

Memory, and not a place, is what an answer holds while its taker is slow: a thread serves others between two
chunks. How long a taker may be slow is ``taking``'s to say.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Executor

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


@contextlib.asynccontextmanager
async def reading(services: Services, who: Who, *, least: int, most: int) -> AsyncIterator[int]:
    """Hold memory (bytes) for one answer, in turn; yields how much. Raises ``TooManyReads``."""
    try:
        size = await services.read_room.take(who, least=least, most=most, patience_s=_PATIENCE_S)
    except TimeoutError:
        raise TooManyReads("too many answers are under way; try again in a moment") from None
    try:
        yield size
    finally:
        services.read_room.give_back(who, size)
