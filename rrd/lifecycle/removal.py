"""Taking a recording away from everywhere: somebody asks for it (erased), or retention does (expired).

The order, in which each step may be the last before a crash, and is finished at the next start:

1. a tombstone, on disk: from here on an erased recording takes nothing more (410);
2. its senders are sent away, and what is open of it is closed;
3. the index forgets it, on disk, its metadata overwritten: nobody finds it any more;
4. its local files go: segments, copies of torn tails, unfinished objects; their directories are synced;
5. its objects go, all versions of them, by the prefix that they share; those of another life of it stay
   unless it was erased;
6. the tombstone says that it is done.

While the object store is away the first four steps are taken, and the fifth waits: ``run`` tries it again.

Roll-up and eviction claim a recording for themselves while they change where it lies, so this waits for them:
an object that is on its way is in the store by the time that step 5 looks.

An expired recording may begin anew, with the next event that comes for it. So that what is being removed and
what is new never meet, nobody opens it during the steps 2 to 4, nor as long as both lives would share a
prefix in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from rrd import metrics
from rrd.backoff import Backoff
from rrd.clock import Clock
from rrd.config import Config
from rrd.disk.disk import Disk
from rrd.errors import NotFound, ObjectError, ObjectMissing, RrdError
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow, RemovedRecording
from rrd.inventory.census import StoreFiles
from rrd.lifecycle.departures import Departures, prefix_of
from rrd.lifecycle.local_files import is_recorded, remove_files
from rrd.log import emit
from rrd.objects.files import ObjectFiles
from rrd.objects.store import ObjectStore
from rrd.recordings.claims import Claims
from rrd.recordings.registry import Registry
from rrd.tombstones import Reason, Tombstone

_PAGE = 100
_AT_ONCE = 4
"""Recordings erased at a time where a filter names many: their syncs and requests overlap."""

_PLACES_LOGGED_MAX = 5

_RETRY_S = (1.0, 60.0)

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


class Receipt(NamedTuple):
    """What one removal removed."""

    recordings: int = 0
    events: int = 0
    bytes: int = 0
    """What they took at rest, by the index."""
    objects: int = 0
    """Objects that went, each old version counted as one."""
    pending: int = 0
    """Recordings of which objects are still to go, since the store is away."""

    def plus(self, other: Receipt) -> Receipt:
        """Return the sum of both."""
        return Receipt(*map(sum, zip(self, other, strict=True)))


class Remover:
    """Removes recordings. One for a data directory; on the loop."""

    def __init__(  # noqa: PLR0917 - each is the only one of its kind
        self,
        config: Config,
        disk: Disk,
        index: Index,
        registry: Registry,
        store: ObjectStore,
        files: ObjectFiles,
        claims: Claims,
        departures: Departures,
        clock: Clock,
    ) -> None:
        self._data_dir = config.data_dir
        self._disk = disk
        self._index = index
        self._registry = registry
        self._store = store
        self._files = files
        self._claims = claims
        self._departures = departures
        self._tombstones = departures.tombstones
        self._clock = clock
        self.is_leaving = departures.is_leaving
        self._is_away = False
        self._something = asyncio.Event()
        # Of its own: syncs of directories must not wait behind commits, nor commits behind them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="removal")

    async def close(self) -> None:
        """Let go of the thread, when ``run`` has ended and nothing is being removed."""
        await asyncio.to_thread(self._thread.shutdown)

    async def erase(self, tenant: str, recording_id: str) -> Receipt:
        """Remove a recording for good, whether the API shows it or not.

        When this returns it is gone, but for its objects if the receipt says so. Cancelled, it is finished by
        ``run`` or at the next start. Raises ``NotFound`` if there is no such recording, ``RrdError`` or
        ``OSError`` if something could not be removed, which is then done at the next start.
        """
        row = await self._index.recording(tenant, recording_id)
        standing = None
        if row is None:
            standing = await self._in_thread(lambda: self._tombstones.erased(tenant, recording_id))
            if standing is None or standing.state == "done":
                raise NotFound(f"there is no recording {recording_id}")
        with self._departures.under_way(tenant, recording_id):
            tombstone = standing if row is None else await self._bury(row, "erased")
            assert tombstone is not None
            # First, and once more below: whoever holds the claim may do so for a while.
            await self._registry.expel(tenant, recording_id)
            async with self._claims.exclusive(tenant, recording_id):
                return await self._remove(tombstone)

    async def erase_matching(self, tenant: str, filters: Sequence[tuple[str, str]]) -> Receipt:
        """Erase every recording that has all of ``filters`` in its metadata, until none is left.

        Raises like ``erase``, when all others of the same page are done with; ``BadRequest`` for too many
        filters.
        """
        assert filters, "without a filter this would erase everything"
        total = Receipt()
        turns = asyncio.Semaphore(_AT_ONCE)

        async def erase(recording_id: str) -> Receipt:
            async with turns:
                with contextlib.suppress(NotFound):  # Somebody else erased it in the meantime.
                    return await self.erase(tenant, recording_id)
                return Receipt()

        while page := await self._index.list_recordings(tenant, filters=filters, limit=_PAGE, offset=0):
            results = await asyncio.gather(
                *(erase(found.recording_id) for found in page), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                total = total.plus(result)
        return total

    async def expire(self, tenant: str, recording_id: str, *, last_stored_ms: int) -> Receipt:
        """Remove a recording into which nothing was stored since ``last_stored_ms``; it may begin anew later.

        Raises like ``erase``, and ``NotFound`` as well if something was stored in the meantime.
        """
        async with self._claims.exclusive(tenant, recording_id):
            # Whoever writes to it is spared, unless it is too late for that.
            await self._unchanged(tenant, recording_id, last_stored_ms)
            with self._departures.under_way(tenant, recording_id):
                await self._registry.expel(tenant, recording_id)
                row = await self._unchanged(tenant, recording_id, last_stored_ms)
                tombstone = await self._bury(row, "expired")
            return await self._remove(tombstone)

    async def _unchanged(self, tenant: str, recording_id: str, last_stored_ms: int) -> RecordingRow:
        row = await self._index.recording(tenant, recording_id)
        if row is None or row.extent.stored_ms > last_stored_ms:
            raise NotFound(f"recording {recording_id} has gone, or was written to")
        return row

    async def resume(self) -> int:
        """Finish, on this machine, what a crash interrupted. Return how many removals there were to finish.

        For the start: after recovery, before anybody writes. The object store is left to ``run``.
        """
        begun = [found for found in await self._in_thread(self._tombstones.pending) if found.state == "begun"]
        for tombstone in begun:
            try:
                await self._remove_here(tombstone)
            except (OSError, RrdError) as error:
                _log_failure(tombstone, error)
        if begun:
            emit(logger, logging.INFO, "removals_resumed", recordings=len(begun))
        self._something.set()
        return len(begun)

    async def run(self) -> None:
        """Take the missing steps of removals, until cancelled; with backoff while the store is away."""
        backoff = Backoff(*_RETRY_S)
        while True:
            try:
                left = await self.finish()
            except (OSError, RrdError) as error:
                emit(logger, logging.ERROR, "removals_not_finished", error=error)
                left = 1
            if left:
                backoff.failures += 1
                await asyncio.sleep(backoff.pause_s())
                continue
            backoff.failures = 0
            await self._something.wait()
            self._something.clear()

    async def finish(self) -> int:
        """Take the missing steps of all removals once; return how many are still not done."""
        self._is_away = False
        left = 0
        for found in await self._in_thread(self._tombstones.pending):
            if self.is_leaving(found.tenant, found.recording_id):
                continue  # Somebody is at it just now, and owes a receipt for it.
            try:
                async with self._claims.exclusive(found.tenant, found.recording_id):
                    left += await self._finish(found)
            except (OSError, RrdError) as error:
                _log_failure(found, error)
                left += 1
        return left

    async def _finish(self, found: Tombstone) -> int:
        # Looked at again: whoever had the claim before may have been just about to finish it.
        lives = await self._in_thread(lambda: self._tombstones.lives(found.tenant, found.recording_id))
        still = [life for life in lives if life.created_ms == found.created_ms and life.state != "done"]
        return (await self._remove(still[0])).pending if still else 0

    async def _bury(self, row: RecordingRow, reason: Reason) -> Tombstone:
        at_ms = self._clock.now_ms()
        return await self._in_thread(
            lambda: self._tombstones.bury(
                row.tenant, row.recording_id, created_ms=row.created_ms, reason=reason, at_ms=at_ms,
                events=row.next_seq - 1, size=row.stored_bytes, objects=len(row.objects),
            )
        )  # fmt: skip

    async def _remove(self, tombstone: Tombstone) -> Receipt:
        """Take the steps from 2 on. Whoever calls holds the claim."""
        removed: RemovedRecording | None = None
        if tombstone.state == "begun":
            with self._departures.under_way(tombstone.tenant, tombstone.recording_id):
                await self._registry.expel(tombstone.tenant, tombstone.recording_id)
                removed = await self._remove_here(tombstone)
            metrics.RECORDINGS_REMOVED.add(tombstone.reason)
        events, size = _counts(tombstone, removed)
        objects = await self._remove_there(tombstone)
        if objects is None:
            self._something.set()
        else:
            # The answer to an earlier try may have been lost, and what it removed with it.
            known = max(objects, tombstone.objects)
            await self._in_thread(
                lambda: self._tombstones.done(tombstone, events=events, size=size, objects=known)
            )
        emit(
            logger, logging.INFO, tombstone.reason, recording=tombstone.recording_id, events=events,
            bytes=size, objects=objects, pending=objects is None,
        )  # fmt: skip
        mine = (1, removed.events, removed.stored_bytes) if removed is not None else (0, 0, 0)
        return Receipt(*mine, objects or 0, int(objects is None))

    async def _remove_here(self, tombstone: Tombstone) -> RemovedRecording | None:
        """Steps 3 and 4. Return what the index knew; None if it had forgotten it before."""
        tenant, recording_id = tombstone.tenant, tombstone.recording_id
        row = await self._index.recording(tenant, recording_id)
        removed = None
        # Another life of it, in an index that was made anew meanwhile, is not what was to be removed.
        if row is not None and tombstone.covers(row.created_ms):
            removed = await self._index.remove(tenant, recording_id)
        cleared = await self._in_thread(lambda: remove_files(self._disk, self._data_dir, tombstone))
        if cleared.kept:
            _log_kept(tombstone, cleared.kept)
        # From here on an expired one may begin anew: what comes next must not be taken for what went.
        events, size = _counts(tombstone, removed)
        await self._in_thread(lambda: self._tombstones.gone_here(tombstone, events=events, size=size))
        return removed

    async def _remove_there(self, tombstone: Tombstone) -> int | None:
        """Step 5. Return how many objects went; None if the store is away."""
        prefix = prefix_of(tombstone)
        self._files.forget(prefix)
        if self._is_away:  # As of a moment ago. Whoever asks for a removal needn't wait for that again.
            return None
        try:
            if tombstone.reason == "erased":
                count = (await self._store.delete_prefix(prefix)).objects
            else:
                count = await self._remove_life(tombstone, prefix)
        except (OSError, ObjectError) as error:
            self._is_away = True
            emit(logger, logging.WARNING, "objects_not_removed", store=self._store.name, error=error)
            return None
        # Once more: somebody who was reading may have put a part of it back.
        self._files.forget(prefix)
        return count

    async def _remove_life(self, tombstone: Tombstone, prefix: str) -> int:
        """Remove the objects of one life of a recording; return how many.

        Another life of it that began on the same day has the same prefix, and no removal of it is recorded.
        So each object is asked whose it is, unless it must be this one's: one small read each.
        """
        files = StoreFiles(self._store, asyncio.get_running_loop())
        infos = [info async for info in self._store.list(prefix)]
        kept: list[str] = []
        for info in infos:
            try:
                is_its = await asyncio.to_thread(is_recorded, files, info.key, tombstone)
            except ObjectMissing:
                continue
            if not is_its:
                kept.append(info.key)
        if not kept:
            # With old versions, and what is left of uploads that were cut off.
            return (await self._store.delete_prefix(prefix)).objects
        for info in infos:
            if info.key not in kept:
                await self._store.delete(info.key)
        _log_kept(tombstone, kept)
        return len(infos) - len(kept)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _counts(tombstone: Tombstone, removed: RemovedRecording | None) -> tuple[int, int]:
    """Return events and bytes: as the index told them, or as they were when the tombstone was laid."""
    return (
        (removed.events, removed.stored_bytes) if removed is not None else (tombstone.events, tombstone.size)
    )


def _log_kept(tombstone: Tombstone, places: Sequence[str]) -> None:
    """Log what has the recording's name, and is not what was to be removed."""
    emit(
        logger, logging.WARNING, "removal_kept", recording=tombstone.recording_id, count=len(places),
        places=", ".join(places[:_PLACES_LOGGED_MAX]),
        next_step="no removal of it is recorded: it is another beginning of the recording, or damaged. rrd"
        " verify tells what it is",
    )  # fmt: skip


def _log_failure(tombstone: Tombstone, error: Exception) -> None:
    emit(
        logger, logging.ERROR, "removal_not_finished", recording=tombstone.recording_id, error=error,
        next_step="it is tried again; see what the error says about the disk",
    )  # fmt: skip
