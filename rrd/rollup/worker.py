"""The roll-up: makes objects out of sealed segments, oldest recording first, a few at a time.

What stops one recording (damage, a full disk) sets that one aside; the others go on. A store that is away
stops all: segments stay where they are, readers don't notice, and after each pause the store is asked once.
Only when it took an object the backlog drains with all tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Callable, Collection

from rrd import metrics
from rrd.backoff import Backoff
from rrd.clock import Clock
from rrd.config import Config
from rrd.disk.disk import Disk
from rrd.errors import DiskFull, IndexDamaged, RrdError, StorageFailed, StoreAway
from rrd.index.contract import Index
from rrd.inventory.proof import is_made_of
from rrd.log import emit
from rrd.objects.store import ObjectStore
from rrd.recordings.claims import Claims
from rrd.rollup.evict import Evictor, keep_local_ms, unexpected
from rrd.rollup.make import Maker, NotMoved
from rrd.rollup.plan import runs
from rrd.rollup.turns import Job, Pass
from rrd.segment.salvage import identity_of
from rrd.shelf.shelf import Shelf

_POLL_S = 5.0
"""How often the index is asked for what is due: it becomes so by time alone."""

_OBJECTS_A_PASS = 1000
"""After so many objects there is a line in the log, and what was set aside is looked at anew: a backlog may
take hours."""

_SET_ASIDE_S = 3600.0
"""How long a recording is left alone that can't be rolled up: damage doesn't heal by itself."""

_SET_ASIDE_SHORTLY_S = 60.0
"""The same where it may well heal: the disk is full, or its sealing isn't done."""

KEPT = ".kept"
"""At the end of a name in ``rolling/``: nothing proves that what the file holds is elsewhere."""

_EVERYTHING_MS = _NO_LIMIT = 1 << 62

_STOPS_ALL = (StoreAway, StorageFailed, IndexDamaged)
"""What no other recording would fare better with."""

logger = logging.getLogger(__name__)


class RollUp:
    """Rolls up. ``run`` is a task for as long as the daemon lives; ``drain`` does everything once."""

    def __init__(  # noqa: PLR0917 - the parts, in the order in which everybody takes them
        self,
        config: Config,
        disk: Disk,
        index: Index,
        store: ObjectStore,
        claims: Claims,
        clock: Clock,
        *,
        live_sources: Callable[[str, str], Collection[int]],
        evictor: Evictor,
        retry_s: tuple[float, float],
        nudged: asyncio.Event,
    ) -> None:
        """Take the parts.

        ``live_sources(tenant, recording)`` names the sources that are open now: their blocks are not merged
        with others', so that what they send again can still be told from what others sent. ``evictor``
        makes room when the disk is full. ``retry_s``: least and greatest ceiling of the pauses while the
        store is away, in seconds. Set ``nudged`` to have it look for what is due now, not at the next poll;
        a store that is away is not asked earlier.
        """
        self._config = config
        self._index = index
        self._store = store
        self._claims = claims
        self._clock = clock
        self._maker = Maker(config, disk, index, store, clock, live_sources)
        self._evictor = evictor
        self._backoff = Backoff(*retry_s)
        self.nudged = nudged
        self._aside: dict[int, float] = {}
        self._told: set[int] = set()
        self._away_since = 0.0

    async def run(self) -> None:
        """Roll up what is due, again and again. Ends by cancellation alone, with nothing half published."""
        while True:
            try:
                if self._backoff.failures:
                    await asyncio.sleep(self._backoff.pause_s())
                    await self._ask_store()
                else:
                    await self._do_what_is_due()
            except Exception as error:  # noqa: BLE001 - a task that ends takes the daemon along
                emit(logger, logging.ERROR, "rollup_failed", error=error, exc_info=unexpected(error))
                metrics.ROLL_UPS_FAILED.add(_reason(error))
            if not self._backoff.failures:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self.nudged.wait()
                self.nudged.clear()

    async def drain(self) -> None:
        """Roll up everything that is sealed, due or not, and evict what is not to be kept.

        Tries what was set aside, too. What stops everything (``StoreAway``, a full disk, the index) is
        raised at once; of what stops one recording alone (``CorruptSegment``, ``OSError``, …) the first is
        raised when all others are done. Cancelled, it leaves nothing half published.
        """
        done = await self._pass(_EVERYTHING_MS, skip=frozenset(), tasks=self._config.rollup_tasks)
        if done.stopped_by is not None:
            raise done.stopped_by
        await self._evictor.evict_now(everything=False)
        for error in done.failed.values():
            raise error

    def reconfigure(self, config: Config) -> None:
        """Take new settings, and look at once for what is due by them."""
        self._config = config
        self._maker.reconfigure(config)
        self.nudged.set()

    def close(self) -> None:
        """Let go of the threads."""
        self._maker.close()

    # One pass over what is due

    def _due_before_ms(self) -> int:
        return self._clock.now_ms() - self._config.rollup_delay_s * 1000

    async def _do_what_is_due(self) -> None:
        done = await self._pass(
            self._due_before_ms(),
            skip=self._aside_now(),
            tasks=self._config.rollup_tasks,
            objects_max=_OBJECTS_A_PASS,
        )
        if done.objects >= _OBJECTS_A_PASS:
            self.nudged.set()
        if isinstance(done.stopped_by, StoreAway):
            self._note_away(done.stopped_by)
        elif done.stopped_by is not None and not _is_disk_full(done.stopped_by):
            raise done.stopped_by

    async def _ask_store(self) -> None:
        """One probe: can it be reached, and does it take one object?"""
        try:
            await self._store.check()
        except StoreAway as error:
            self._note_away(error)
            return
        done = await self._pass(self._due_before_ms(), skip=self._aside_now(), tasks=1, objects_max=1)
        if isinstance(done.stopped_by, StoreAway):
            self._note_away(done.stopped_by)
            return
        backlog = await self._index.backlog()
        emit(
            logger, logging.INFO, "object_store_back", store=self._store.name,
            away_s=round(self._clock.monotonic() - self._away_since),
            waiting_segments=backlog.segments, waiting_bytes=backlog.bytes,
        )  # fmt: skip
        self._backoff.failures = 0
        metrics.STORE_AWAY.set(0)
        self.nudged.set()

    def _note_away(self, error: StoreAway) -> None:
        if not self._backoff.failures:
            self._away_since = self._clock.monotonic()
            emit(
                logger, logging.WARNING, "object_store_away", store=self._store.name, error=error,
                next_step="nothing is lost: segments wait here, and the store is asked again and again",
            )  # fmt: skip
        self._backoff.failures += 1
        metrics.STORE_AWAY.set(1)
        metrics.ROLL_UPS_FAILED.add(_reason(error))

    def _aside_now(self) -> frozenset[int]:
        now = self._clock.monotonic()
        self._aside = {row_id: until for row_id, until in self._aside.items() if until > now}
        metrics.RECORDINGS_SET_ASIDE.set(len(self._aside))
        return frozenset(self._aside)

    async def _pass(
        self, settled_before_ms: int, *, skip: frozenset[int], tasks: int, objects_max: int = _NO_LIMIT
    ) -> Pass:
        started = time.monotonic()
        done = Pass(self._index, settled_before_ms, self._config.segment_bytes_max, skip, objects_max)
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(self._work(done))
        if done.objects:
            emit(
                logger, logging.INFO, "rolled_up", recordings=done.recordings, objects=done.objects,
                segment_bytes=done.segment_bytes, object_bytes=done.object_bytes,
                took_ms=round((time.monotonic() - started) * 1000),
            )  # fmt: skip
        return done

    async def _work(self, done: Pass) -> None:
        try:
            while (job := await done.next_job()) is not None:
                await self._roll_up(job, done)
        except (OSError, RrdError) as error:
            done.stopped_by = done.stopped_by or error

    async def _roll_up(self, job: Job, done: Pass) -> None:
        """Do one recording. Raises what stops all of them; what stops this one alone is noted."""
        try:
            made = await self._make_room_and_all(job, done)
        except _STOPS_ALL:
            raise
        except Exception as error:
            # One recording must not keep the others here.
            done.failed[job.row_id] = error
            self._put_aside(job, error)
            if _is_disk_full(error):
                raise
        else:
            self._told.discard(job.row_id)
            done.recordings += made > 0
            if not made:
                done.idle.add(job.row_id)
        finally:
            done.under_way.discard(job.row_id)

    def _put_aside(self, job: Job, error: Exception) -> None:
        is_passing = _is_disk_full(error) or isinstance(error, NotMoved)
        seconds = _SET_ASIDE_SHORTLY_S if is_passing else _SET_ASIDE_S
        self._aside[job.row_id] = self._clock.monotonic() + seconds
        metrics.RECORDINGS_SET_ASIDE.set(len(self._aside))
        metrics.ROLL_UPS_FAILED.add(_reason(error))
        if job.row_id in self._told:
            return
        self._told.add(job.row_id)
        emit(
            logger, logging.WARNING if is_passing else logging.ERROR, "not_rolled_up",
            recording=job.recording_id, tenant=job.tenant, error=error, exc_info=unexpected(error),
            next_step="its segments stay here, readable; " + _advice(error),
        )  # fmt: skip

    async def _make_room_and_all(self, job: Job, done: Pass) -> int:
        try:
            return await self._make_all(job, done)
        except (DiskFull, OSError) as error:
            if not _is_disk_full(error):
                raise
            # Not with the recording claimed: its own copies may be what has to go.
            await self._evictor.evict_now(everything=True)
        return await self._make_all(job, done)

    async def _make_all(self, job: Job, done: Pass) -> int:
        """Make all objects of one recording; return how many."""
        made = 0
        while True:
            # One claim an object, so that an erasure waits for one upload at most.
            async with self._claims.exclusive(job.tenant, job.recording_id):
                # Read only now: before the claim it may have been rolled up, or erased and begun anew.
                row = await self._index.recording(job.tenant, job.recording_id)
                todo = runs(row) if row is not None else []
                if row is None or not todo:
                    return made
                published = await self._maker.make(row, todo[0])
                done.objects += 1
                done.segment_bytes += todo[0].size
                done.object_bytes += published.size
                made += 1
                if keep_local_ms(self._config) == 0:
                    await self._evictor.evict_claimed(job.tenant, job.recording_id, published.first_number)


def empty_rolling_dir(disk: Disk, data_dir: str) -> int:
    """Delete what a roll-up that was interrupted left behind; return how many files. Blocking: at start.

    Only what was made of segments that are here and whole. Anything else is kept under another name, so that
    no later object takes its place: it may hold what nothing else holds.
    """
    shelf = Shelf(disk, data_dir)
    paths = shelf.rolling_paths()
    removed = 0
    for path in paths:
        if is_made_of(path, _segments_of(shelf, path), disk=disk):
            disk.unlink(path)
            removed += 1
            continue
        disk.rename(path, f"{path}{KEPT}")
        emit(
            logger, logging.WARNING, "unfinished_object_kept", path=f"{path}{KEPT}",
            next_step="the segments that it was made of are not here, or damaged. Run rrd verify --deep: if"
            " it tells nothing of this recording, delete the file by hand; else see with rrd inspect what it"
            " holds",
        )  # fmt: skip
    if paths:
        disk.sync_dir(shelf.rolling_dir)
    return removed


def _segments_of(shelf: Shelf, path: str) -> list[str]:
    """Return where the segments are that an unfinished object says it is made of; as many as are here."""
    identity = identity_of(shelf.disk, path)
    found: list[str] = []
    for number in range(identity.number, identity.last_number + 1) if identity is not None else ():
        assert identity is not None
        try:
            found.append(shelf.find(identity.name._replace(number=number), first="sealed"))
        except FileNotFoundError:
            break
    return found


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, DiskFull) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    )


def _reason(error: Exception) -> str:
    """Return what kind of failure it is, as a constant word."""
    if _is_disk_full(error):
        return DiskFull.code
    if isinstance(error, RrdError):
        return error.code
    return "os_error" if isinstance(error, OSError) else "unexpected"


def _advice(error: Exception) -> str:
    if _is_disk_full(error):
        return "free some of the disk"
    if isinstance(error, NotMoved):
        return "the next start finishes its sealing"
    return "rrd verify tells what is wrong"
