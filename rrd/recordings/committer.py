"""Group commit: takes what recordings have ready, makes it durable together, and tells the sources.

One group at a time: write and sync in a thread, one index transaction, then the acks. While it is
under way the next group gathers, so the busier the daemon, the larger the groups and the fewer the syncs.
A recording is in one group at most once, which is what keeps its blocks one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import zstandard

from rrd import metrics
from rrd.clock import Clock
from rrd.config import Config
from rrd.disk.disk import Disk, Readable
from rrd.errors import RefusedError, RrdError, StorageFailed, StoreAway
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.recordings.followers import Followers
from rrd.recordings.history import History, LineKeys, StaleHistory
from rrd.recordings.ready import ReadyRecordings
from rrd.recordings.recording import Recording
from rrd.recordings.sealer import Sealer
from rrd.recordings.source import Work
from rrd.recordings.writes import Writes, refusal_of
from rrd.segment.commit import Append, Stored, commit
from rrd.segment.format import Identity
from rrd.segment.writer import SegmentWriter
from rrd.shelf.shelf import Shelf

_GROUP_BLOCKS_MAX = 2048
_GROUP_BYTES_MAX = 64 << 20
"""A group stays small enough that the next one needn't wait long."""

_LOOK_INTERVAL_S = 1.0
"""How often ``watch`` looks at the group under way."""

_STALE_S = 10.0
"""An open file that was not written to for so long makes room for others."""

_NO_HANDLE_PATIENCE_S = 10.0
_NO_HANDLE_PAUSE_S = 0.05
"""How long, and how often, a block waits for a file handle where none of ours can be closed."""

_LOOKUP_THREADS = 4
"""Of their own: a lookup may wait for the object store, and commits must not wait with it."""

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_Block = tuple[Recording, Work, Append]


class Committer:
    """The one writer of segments. ``run`` is its task; ``wake`` may be called from the loop any time."""

    def __init__(
        self,
        config: Config,
        disk: Disk,
        index: Index,
        clock: Clock,
        sealer: Sealer,
        *,
        followers: Followers,
        files: Readable | None = None,
    ) -> None:
        """``files``: objects, to be read from worker threads; needed once there are some."""
        self._config = config
        self._disk = disk
        self._shelf = Shelf(disk, config.data_dir)
        self._index = index
        self._clock = clock
        self._sealer = sealer
        self._followers = followers
        self._files = files
        self.writes = Writes(config.data_dir, disk, index, clock, sync=config.sync)
        self._compressor = zstandard.ZstdCompressor(level=config.compression_level)
        self._line_keys = LineKeys()
        self._ready = ReadyRecordings()
        self._looked_up: list[tuple[Recording, Work]] = []
        self._lookups: set[asyncio.Task[None]] = set()
        self._lookup_threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="lookup")
        self._commit_thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        """Of its own, and made at the start: it must not queue behind others, nor be missing later."""
        self._running: asyncio.Task[None] | None = None
        self.group_began_at: float | None = None
        """When the group under way began, monotonic seconds; None if none is."""
        self._something = asyncio.Event()
        self._group_done: asyncio.Future[None] | None = None
        self.open_writers: OrderedDict[SegmentWriter, float] = OrderedDict()
        """With when each was last written to, monotonic seconds; the oldest first."""
        self._bug: BaseException | None = None
        """What ended a lookup that should not have ended it."""

    def reconfigure(self, config: Config) -> None:
        """Take new settings, from the next group on. Open segments keep their level of compression."""
        self._compressor = zstandard.ZstdCompressor(level=config.compression_level)
        self._config = config
        self.writes.sync = config.sync

    def wake(self, recording: Recording) -> None:
        """``recording`` has something to store and nothing on its way."""
        self._ready.add(recording)
        self._something.set()

    async def next_group(self) -> None:
        """Return when the group that is gathering or under way now is done with."""
        await asyncio.shield(self._end_of_group())

    async def has_next_group(self) -> bool:
        """Do as ``next_group``, and return True; False if ``run`` has ended, so that none will come."""
        if self._running is None or self._running.done():
            return False
        # Not by a task of its own: the group could end before that begins to wait, and no other follow.
        await asyncio.wait([self._end_of_group(), self._running], return_when=asyncio.FIRST_COMPLETED)
        return not self._running.done()

    def _end_of_group(self) -> asyncio.Future[None]:
        if self._group_done is None:
            self._group_done = asyncio.get_running_loop().create_future()
        return self._group_done

    def stalled_s(self) -> float:
        """Return for how long the group under way has been, in seconds; 0 if none is."""
        began_at = self.group_began_at
        return 0.0 if began_at is None else self._clock.monotonic() - began_at

    async def watch(self) -> None:
        """Raise ``StorageFailed`` once a write has taken longer than it may, so that the daemon is restarted.

        Where memory ran out, the thread that was to tell the end of a write may have died of it: then its end
        never comes, though nothing has failed.
        """
        began_at, looks = None, 0
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            # Looks are counted, too: time in which the process stood still is no stall.
            looks = looks + 1 if began_at == self.group_began_at else 0
            began_at = self.group_began_at
            most_s = self._config.commit_stall_max_s
            if most_s and min(looks * _LOOK_INTERVAL_S, self.stalled_s()) > most_s:
                raise StorageFailed(f"a write has not ended for {most_s} s (commit_stall_max_s)")

    async def run(self) -> None:
        """Commit groups until cancelled. Cancel only when nothing waits any more."""
        self._running = asyncio.current_task()
        await self._in_thread(time.monotonic)
        while True:
            await self._something.wait()
            self._something.clear()
            if self._bug is not None:
                raise self._bug
            group = self._gather()
            if group:
                self.group_began_at = self._clock.monotonic()
                metrics.GATHERING.observe_all(_ages([work for _, work in group], self.group_began_at))
                await self._commit(group)
                metrics.COMMIT.observe(self._clock.monotonic() - self.group_began_at)
                self.group_began_at = None
            del group  # Up to 64 MiB, and the next one may be long in coming.
            if self._group_done is not None:
                self._group_done.set_result(None)
                self._group_done = None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._commit_thread, work)

    def _gather(self) -> list[tuple[Recording, Work]]:
        group, self._looked_up = self._looked_up, []
        size = sum([len(work.batch.payload) for _, work in group])
        blocks_max = min(_GROUP_BLOCKS_MAX, self._config.open_segments_max)  # Each has a file of its own.
        while self._ready and len(group) < blocks_max and size < _GROUP_BYTES_MAX:
            recording = self._ready.take()
            work = recording.next_work()
            if work is None:
                continue
            if recording.needs_history(work):
                # Reading takes its time, and the others shouldn't wait for it.
                task = asyncio.create_task(self._look_up(recording, work))
                self._lookups.add(task)
                task.add_done_callback(self._looked)
                continue
            size += len(work.batch.payload)
            group.append((recording, work))
        if self._ready:
            self._something.set()
        return group

    async def _look_up(self, recording: Recording, work: Work) -> None:
        try:
            filtered = await self._filter(recording, work)
        except StoreAway as error:
            emit(logger, logging.WARNING, "lookup_failed", recording=recording.recording_id, error=error)
            if recording.may_repeat_events(work):
                self._settle(recording, work, error)
                return
            # Metadata alone: set once more, it does no harm, and visitors come back to old recordings.
            filtered = work
        except (OSError, RrdError) as error:
            emit(logger, logging.ERROR, "lookup_failed", recording=recording.recording_id, error=error)
            self._settle(recording, work, StorageFailed("stored events can't be read to find repeats"))
            return
        self._looked_up.append((recording, filtered))

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._lookups.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Nothing waits for a lookup, so ``run`` fails in its place: its recording would wait for ever.
            self._bug = task.exception()
        # A failed one, too: what waits for room or for the end waits for the next group.
        self._something.set()

    async def _filter(self, recording: Recording, work: Work) -> Work:
        loop = asyncio.get_running_loop()
        while True:
            if recording.history is None:
                await self._sealer.index_blocks()
                row = await self._index.recording(recording.tenant, recording.recording_id)
                recording.history = await loop.run_in_executor(self._lookup_threads, self._load_history, row)
            try:
                return await loop.run_in_executor(
                    self._lookup_threads, recording.history.without_repeats, work, recording.limits
                )
            except StaleHistory:
                recording.history = None  # Its events lie elsewhere by now: they were sealed, or rolled up.

    def _load_history(self, row: RecordingRow | None) -> History:
        history = History(self._disk, self._line_keys)
        if row is not None:
            history.load_recording(self._shelf, self._files, row)
        return history

    async def _commit(self, group: list[tuple[Recording, Work]]) -> None:
        now_ms = self._clock.now_ms()
        try:
            # Before anything is acked: a repeat may be one of a block that the index would not take.
            await self._sealer.index_blocks()
        except (OSError, RrdError) as error:
            self._fail(group, error)
            return
        blocks = self._blocks(group, now_ms)
        if not blocks:
            return
        try:
            outcomes = await self._in_thread(partial(self._store, blocks))
            await self._store_once_more(blocks, outcomes)
            take_row_id = self._index.take_row_id
            commits = [
                recording.stored(work, append.draft, outcome, take_row_id)
                for (recording, work, append), outcome in zip(blocks, outcomes, strict=True)
                if isinstance(outcome, Stored)
            ]
            await self._sealer.index_blocks(commits)
        except (OSError, RrdError) as error:
            self._fail([(recording, work) for recording, work, _ in blocks], error)
            return
        self.writes.succeeded()
        self._tell(blocks, outcomes)
        self._close_writers()

    def _blocks(self, group: list[tuple[Recording, Work]], now_ms: int) -> list[_Block]:
        """Return the blocks of a group; settle what makes none."""
        blocks: list[_Block] = []
        now = self._clock.monotonic()
        for recording, work in group:
            draft = recording.prepare(work, now_ms)
            if draft is None:
                recording.settled(work, None, used_at=now)
            else:
                blocks.append((recording, work, Append(self._writer(recording, now), draft)))
        return blocks

    def _tell(self, blocks: Sequence[_Block], outcomes: Sequence[Stored | OSError]) -> None:
        """Tell the sources of a group what became of their lines."""
        now = self._clock.monotonic()
        is_followed = self._followers.is_any_followed
        acked: list[Work] = []
        for (recording, work, append), outcome in zip(blocks, outcomes, strict=True):
            if isinstance(outcome, Stored):
                if is_followed:
                    self._followers.keep(recording.tenant, recording.recording_id, append.draft)
                recording.settled(work, None, used_at=now)
                acked.append(work)
                if outcome.size >= self._config.segment_bytes_max:
                    self.finish_segment(recording)
            else:
                emit(logger, logging.ERROR, "store_failed", recording=recording.recording_id, error=outcome)
                self.writes.failed(outcome)
                self._settle(recording, work, refusal_of(outcome))
        metrics.ACK_AGE.observe_all(_ages(acked, self._clock.monotonic()))

    def _fail(self, group: list[tuple[Recording, Work]], error: Exception) -> None:
        refusal = error if isinstance(error, RefusedError) else refusal_of(error)
        emit(logger, logging.ERROR, "commit_failed", blocks=len(group), error=error)
        self.writes.failed(error)
        for recording, work in group:
            self._settle(recording, work, refusal)

    def _store(self, blocks: Sequence[_Block]) -> list[Stored | OSError]:
        outcomes = commit(self._disk, [append for _, _, append in blocks], mode=self._config.sync)
        for (recording, work, append), outcome in zip(blocks, outcomes, strict=True):
            if recording.history is not None and isinstance(outcome, Stored):
                recording.remember(work, append.draft, outcome.offset)
        return outcomes

    async def _store_once_more(self, blocks: Sequence[_Block], outcomes: list[Stored | OSError]) -> None:
        """Store what found no file handle, after others were closed; ``outcomes`` is brought up to date."""
        deadline = self._clock.monotonic() + _NO_HANDLE_PATIENCE_S
        while lacking := [
            at
            for at, outcome in enumerate(outcomes)
            if isinstance(outcome, OSError) and _lacks_handle(outcome)
        ]:
            if self._clock.monotonic() > deadline:
                return
            closed = [writer for writer in self.open_writers if writer.is_open]
            for writer in closed:
                with contextlib.suppress(OSError):  # As in ``forget``: all that counts in it is synced.
                    writer.close()
            emit(logger, logging.WARNING, "no_file_handle", blocks=len(lacking), closed=len(closed))
            if not closed:
                await asyncio.sleep(_NO_HANDLE_PAUSE_S)
            # No more at a time than there is surely room for now; the next turn takes the others.
            now = lacking[: max(1, len(closed))]
            again = await self._in_thread(partial(self._store, [blocks[at] for at in now]))
            for at, outcome in zip(now, again, strict=True):
                outcomes[at] = outcome

    def _writer(self, recording: Recording, now: float) -> SegmentWriter:
        """Return the writer for the next block: of a new segment where there is none to go on with."""
        identity = recording.next_segment()
        if identity is not None:
            self.finish_segment(recording)
            recording.writer = self.resume(self._shelf.active(identity.name), identity, 0)
        writer = recording.writer
        assert writer is not None
        self.open_writers[writer] = now
        self.open_writers.move_to_end(writer)
        return writer

    def resume(self, path: str, identity: Identity, size: int) -> SegmentWriter:
        """Return a writer that goes on with a segment of ``size`` durable bytes; begins one if 0."""
        return SegmentWriter(self._disk, path, identity, size=size, compressor=self._compressor)

    def finish_segment(self, recording: Recording) -> None:
        """Write no more to a recording's segment: the next block begins another, this one is to be sealed."""
        writer, recording.writer = recording.writer, None
        if writer is None:
            return
        self.forget(writer)
        if writer.size and recording.row_id is not None:
            self._sealer.finish({writer.identity.name: recording.row_id})

    def close(self) -> None:
        """Let go of the threads. Call it when ``run`` has ended."""
        self._lookup_threads.shutdown(wait=False)
        self._commit_thread.shutdown(wait=False)

    def forget(self, writer: SegmentWriter) -> None:
        """Close a writer that is not needed any more. Never raises."""
        self.open_writers.pop(writer, None)
        # All that counts in it is synced, so what closing could report is of no consequence.
        with contextlib.suppress(OSError):
            writer.close()

    def _close_writers(self) -> None:
        stale_since = self._clock.monotonic() - _STALE_S
        while len(self.open_writers) > self._config.open_segments_max:
            oldest, used_at = next(iter(self.open_writers.items()))
            # Where more write in turns than can be open, who wrote first is the next to write again. Closing
            # always the oldest would open every file anew each time.
            self.forget(oldest if used_at < stale_since else next(reversed(self.open_writers)))

    def _settle(self, recording: Recording, work: Work, failure: RrdError) -> None:
        metrics.BLOCKS_FAILED.add(failure.code)
        recording.settled(work, failure, used_at=self._clock.monotonic())


def _ages(works: Sequence[Work], now: float) -> list[float]:
    """Return how long ago the first event of each came, in seconds, where that is known."""
    return [now - work.since for work in works if work.since]


def _lacks_handle(error: OSError) -> bool:
    """Tell whether a block found no file handle: no byte of it was written, so it may be tried again."""
    return error.errno in {errno.EMFILE, errno.ENFILE}
