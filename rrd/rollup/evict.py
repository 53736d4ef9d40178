"""Eviction: local copies of published objects are deleted, so that the disk has room for what is new.

After ``keep_local_s``, or at once with a local store (the object lies on the same machine, or next to it), or
when the disk gets full. Oldest published first. Only what the index says is published goes, and only once the
store says that it still has the object (not asked in the seconds after the upload). A recording that is being
read is left for later.

Files first, then the index: a crash between leaves copies that the index believes in, some of them gone.
Readers then take the object, and the next eviction finishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

from rrd import metrics
from rrd.clock import Clock
from rrd.config import Config
from rrd.disk.disk import Disk
from rrd.errors import ObjectRejected, RrdError
from rrd.index.contract import Index
from rrd.index.rows import EvictRow
from rrd.log import emit
from rrd.objects.store import ObjectStore
from rrd.recordings.claims import Claims
from rrd.rollup.threads import Threads
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf

_POLL_S = 1.0
"""How often the disk's state is asked, and whether something has been kept long enough."""

_BATCH = 64
"""Objects asked of the index at a time."""

_PATIENCE_S = 1.0
"""How long a recording is waited for that somebody else has claimed; it is passed over then."""

_JUST_VERIFIED_MS = 10_000
"""Publishing has verified the object; so soon after, the store need not be asked once more."""

_EVERYTHING_MS = 1 << 62

logger = logging.getLogger(__name__)


class Evicted(NamedTuple):
    """What was deleted: objects whose local copies are gone, and the bytes of these."""

    objects: int
    size: int


def keep_local_ms(config: Config) -> int:
    """Return how long local copies stay after publication. None do where the store is local."""
    return 0 if config.object_store == "local" else config.keep_local_s * 1000


class Evictor:
    """Deletes local copies. ``run`` is a task for as long as the daemon lives."""

    def __init__(
        self,
        config: Config,
        disk: Disk,
        index: Index,
        claims: Claims,
        clock: Clock,
        *,
        store: ObjectStore,
        is_low: Callable[[], bool] = lambda: False,
    ) -> None:
        """``is_low`` tells whether the disk is nearly full: then copies go whatever ``keep_local_s`` says."""
        self._config = config
        self._shelf = Shelf(disk, config.data_dir)
        self._index = index
        self._store = store
        self._claims = claims
        self._clock = clock
        self._is_low = is_low
        self._failing: set[tuple[int, int]] = set()
        self._threads = Threads(1, name="evict")

    def reconfigure(self, config: Config) -> None:
        """Take new settings, from the next round on."""
        self._config = config

    async def run(self) -> None:
        """Evict what has been kept long enough, and more while the disk is low. Only cancellation ends it."""
        while True:
            try:
                await self.evict_now(everything=False)
                if self._is_low():
                    await self._evict(_EVERYTHING_MS, enough=lambda: not self._is_low())
            except Exception as error:  # noqa: BLE001 - a task that ends takes the daemon along
                emit(logger, logging.ERROR, "evict_failed", error=error, exc_info=unexpected(error))
            await asyncio.sleep(_POLL_S)

    async def evict_now(self, *, everything: bool) -> Evicted:
        """Evict what has been kept for ``keep_local_s``, or ``everything`` that is published.

        What is being read, or claimed by somebody else, or can't be deleted (logged), stays. Raises
        what ``Index`` raises.
        """
        kept_before_ms = self._clock.now_ms() - keep_local_ms(self._config)
        return await self._evict(_EVERYTHING_MS if everything else kept_before_ms, enough=lambda: False)

    async def evict_claimed(self, tenant: str, recording_id: str, first_number: int) -> int | None:
        """Evict one object, for a caller that holds the recording's claim.

        Returns the bytes deleted (0: nothing was left to do), or None if the copies stay for now: they are
        being read, or deleting failed, which is logged once. The next ``evict_now`` tries again.
        """
        if self._claims.has_readers(tenant, recording_id):
            return None
        row = None
        try:
            row = await self._index.recording(tenant, recording_id)
            if row is None:
                return 0
            holdings = Holdings.of(row)
            published = holdings.covering(first_number)
            if published is None or not published.has_local or published.first_number != first_number:
                return 0
            copies = holdings.copies(published)
            names = [holdings.name(segment.number) for segment in copies]
            if names and self._clock.now_ms() - published.published_ms > _JUST_VERIFIED_MS:
                await self._check_stored(holdings.key(published), published.size)
            await self._threads.run(self._shelf.remove_copies, names)
            await self._index.evicted(row.row_id, first_number)
        except (OSError, RrdError) as error:
            place = (row.row_id if row is not None else 0, first_number)
            if place not in self._failing:
                self._failing.add(place)
                emit(
                    logger, logging.ERROR, "evict_failed", recording=recording_id, segment=first_number,
                    error=error, next_step="it is tried again; rrd verify tells what is there",
                )  # fmt: skip
            return None
        self._failing.discard((row.row_id, first_number))
        size = sum(segment.size for segment in copies)
        metrics.OBJECTS_EVICTED.add()
        metrics.BYTES_EVICTED.add(size)
        emit(logger, logging.DEBUG, "evicted", recording=recording_id, segments=len(copies), bytes=size)
        return size

    async def _check_stored(self, key: str, size: int) -> None:
        """Ask the store for the object. The index alone proves nothing: the store may be another one by now.

        Raises ``ObjectMissing``, ``ObjectRejected``, ``StoreAway``.
        """
        stored = await self._store.size(key)
        if stored != size:
            raise ObjectRejected(f"{key} has {stored} bytes in the store, and {size} in the index")

    def close(self) -> None:
        """Let go of the thread."""
        self._threads.close()

    async def _evict(self, published_before_ms: int, *, enough: Callable[[], bool]) -> Evicted:
        objects = size = 0
        staying: set[tuple[int, int]] = set()
        while not enough():
            found = await self._index.to_evict(
                published_before_ms=published_before_ms, limit=_BATCH + len(staying)
            )
            rows = [row for row in found if (row.row_id, row.first_number) not in staying]
            if not rows:
                break
            for row in rows:
                if enough():
                    break
                evicted = await self._evict_one(row)
                if evicted is None:
                    staying.add((row.row_id, row.first_number))
                else:
                    objects += 1
                    size += evicted
        if objects:
            emit(logger, logging.INFO, "evicted", objects=objects, bytes=size, staying=len(staying))
        return Evicted(objects, size)

    async def _evict_one(self, row: EvictRow) -> int | None:
        async with contextlib.AsyncExitStack() as stack:
            try:
                # A roll-up under way, or an erasure, may hold it for minutes: others can go first.
                async with asyncio.timeout(_PATIENCE_S):
                    await stack.enter_async_context(self._claims.exclusive(row.tenant, row.recording_id))
            except TimeoutError:
                return None
            # Nothing is taken from ``row``: until now others may have done it, or erased the recording.
            return await self.evict_claimed(row.tenant, row.recording_id, row.first_number)


def unexpected(error: Exception) -> Exception | bool:
    """Return what to log beside an error's text: its traceback, unless rrd or the disk raised it."""
    return False if isinstance(error, OSError | RrdError) else error
