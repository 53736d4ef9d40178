"""All open recordings: found or made when somebody writes, let go and sealed when they fall silent.

At most one ``Recording`` object exists for each recording, so its sequence numbers and its segment
have one owner. While one is being let go, whoever wants it waits, and then finds it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable

from rrd import layout
from rrd.clock import Clock
from rrd.config import Config
from rrd.disk.disk import Disk, Readable
from rrd.errors import CorruptSegment, DataDirGone, Gone, RefusedError, RrdError, ShuttingDown, StorageFailed
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow
from rrd.log import event
from rrd.recordings.committer import Committer
from rrd.recordings.recording import Recording, Source, Waiting
from rrd.segment.format import IDENTITY_READ_SIZE, decode_identity
from rrd.shares.queue import Who
from rrd.shares.room import Ledger, Times
from rrd.shelf.shelf import Shelf
from rrd.wire.limits import Limits

_SWEEP_INTERVAL_S = 1.0
_SEAL_MAX = 1000
"""Recordings sealed at a time: one index transaction, one run of renames."""

_PLACES_TIMES = Times(tenant=9, key=0, address=0)

_STALL_TOLD_S = 15.0
"""A write that takes longer makes the daemon not ready. A locked index is waited for less long."""

_Key = tuple[str, str]

"""Ends the name of a file that had the place of a segment."""

logger = logging.getLogger(__name__)


class TooManyRecordings(RefusedError):
    """``recordings_max`` recordings are open, and none of them is idle."""

    code = "too_many_recordings"


class Registry:
    """Opens sources, holds recordings, lets them go."""

    def __init__(
        self,
        config: Config,
        disk: Disk,
        index: Index,
        clock: Clock,
        limits: Limits,
        *,
        files: Readable | None = None,
        refusal: Callable[[], RefusedError | None] = lambda: None,
        is_erased: Callable[[str, str], bool] | None = None,
    ) -> None:
        """``files``: objects, for worker threads. ``refusal``: why nothing new is taken now, or None."""
        self._refusal = refusal
        self.is_erased = is_erased
        """Blocking: tells whether a recording must not come back."""
        self.on_sealed: Callable[[], None] = lambda: None
        """Called when there are sealed segments that were active before."""
        self._config = config
        self._disk = disk
        self._shelf = Shelf(disk, config.data_dir)
        self._index = index
        self._clock = clock
        self._limits = limits
        self._recordings: OrderedDict[_Key, Recording] = OrderedDict()
        self._opening: dict[_Key, asyncio.Task[Recording]] = {}
        self._wanted: Counter[_Key] = Counter()
        self._leaving: dict[_Key, asyncio.Future[None]] = {}
        self._waiting = Waiting()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._sealing = asyncio.Lock()
        self._left_active: dict[_Key, dict[layout.SegmentName, int]] = {}
        """Segments that were active at the start, until their recordings are opened or they are sealed."""
        self._places = Ledger(config.recordings_max, _PLACES_TIMES)
        """Of recordings that somebody is writing to: no others can make room."""
        self._started_at = clock.monotonic()
        self.committer = Committer(config, disk, index, clock, files=files)

    async def start(self) -> list[asyncio.Task[None]]:
        """Start committing and sweeping. A task that ends by itself has failed, and the daemon with it."""
        self._started_at = self._clock.monotonic()
        # Read before anything can be removed: a segment that is gone from the index can't be sealed.
        for tenant, recording, row_id, segment in await self._index.active_segments():
            name = layout.SegmentName(tenant, recording, segment.number)
            self._left_active.setdefault((tenant, recording), {})[name] = row_id
        self._tasks = [
            asyncio.create_task(self.committer.run(), name="committer"),
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._watch_progress(), name="commit progress"),
        ]
        return self._tasks

    async def _watch_progress(self) -> None:
        """Raise ``StorageFailed`` once a write has taken longer than it may, so that the daemon is restarted.

        Where memory ran out, the thread that was to tell the end of a write may have died of it: then its end
        never comes, though nothing has failed.
        """
        most_s = self._config.commit_stall_max_s
        began_at, looks = None, 0
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            # Looks are counted, too: time in which the process stood still is no stall.
            looks = looks + 1 if began_at == self.committer.group_began_at else 0
            began_at = self.committer.group_began_at
            if most_s and min(looks * _SWEEP_INTERVAL_S, self.committer.stalled_s()) > most_s:
                raise StorageFailed(f"a write has not ended for {most_s} s (commit_stall_max_s)")

    async def stop(self) -> None:
        """Refuse new sources, wait until everything that was put is safe, and let go of all files."""
        self._stopping = True
        while self._waiting.bytes or any(
            recording.has_pending() or recording.busy for recording in self._all()
        ):
            if not await self.committer.has_next_group():
                break
        # At once, before anything else can run: what is put from here on would never be committed.
        for recording in self._all():
            recording.closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._opening.values(), return_exceptions=True)
        await self.committer.writes.close()
        for recording in self._all():
            recording.closed = True
            if recording.writer is not None:
                self.committer.forget(recording.writer)
        self.committer.close()

    async def open_source(
        self,
        tenant: str,
        recording_id: str,
        *,
        origin: str | None = None,
        visitor: dict[str, str] | None = None,
        lines: int = 1,
        begin: Callable[[], None] = lambda: None,
    ) -> Source:
        """Return a new source for a recording, which is made if there is none. ``close_source`` is owed.

        ``lines``: how many the sender has brought along, to be counted if the recording is erased.
        ``begin``: called before one is made, which is not made if it raises. Raises ``ShuttingDown``,
        ``TooManyRecordings``, ``StorageFailed``, ``DiskFull``, ``Gone``.
        """
        self.check_room_on_disk()
        try:
            recording = await self._open((tenant, recording_id), begin)
        except Gone:
            self._waiting.late_lines[tenant, recording_id] += lines
            raise
        if not recording.sources:
            if not self._places.may_take(Who(tenant)):
                raise TooManyRecordings("this sender's share of the recordings is being written at once")
            self._places.take(Who(tenant))
        recording.sources += 1
        recording.used_at = self._clock.monotonic()
        return Source(recording, origin=origin, visitor=visitor)

    def close_source(self, source: Source) -> None:
        """Take back a source. What it put goes on its way."""
        source.recording.source_closed(source)
        if not source.recording.sources:
            self._places.give_back(Who(source.recording.tenant))

    async def knows(self, tenant: str, recording_id: str) -> bool:
        """Tell whether there is such a recording, or one is being made."""
        key = (tenant, recording_id)
        if key in self._recordings or key in self._opening:
            return True
        return await self._index.recording(tenant, recording_id) is not None

    async def room(self, source: Source) -> None:
        """Wait until there is room for more from ``source``: this is the backpressure on senders.

        The last tenth of the room is for tenants that take no more than as much.
        Raises ``DiskFull`` when the disk's reserve is reached; what was put before is stored all the same.
        """
        self.check_room_on_disk()
        recording, bytes_max = source.recording, self._config.buffer_bytes_max
        waiting, kept_back = self._waiting, bytes_max // 10
        while recording.pending_bytes > self._config.recording_buffer_bytes_max or waiting.bytes > (
            bytes_max if waiting.bytes_of[recording.tenant] <= kept_back else bytes_max - kept_back
        ):
            await self.committer.next_group()

    def check_room_on_disk(self) -> None:
        """Raise ``DiskFull`` while the disk's reserve is reached: nothing new is taken.

        Raise ``DataDirGone`` while the data directory is not the one that was opened.
        """
        refusal = self._refusal()
        if refusal is not None:
            raise refusal

    async def why_not_stored(self) -> str | None:
        """Return why writes fail now, in a sentence for people; None if they don't.

        The disk's reserve alone is no failure: reads, erasure and roll-up go on, and they make room.
        """
        refusal = self._refusal()
        if isinstance(refusal, DataDirGone):
            return str(refusal)
        stalled_s = self.committer.stalled_s()
        if stalled_s > _STALL_TOLD_S:
            return f"a write has not ended for {stalled_s:.0f} s"
        return await self.committer.writes.problem(anew=refusal is not None)

    def take_late_lines(self) -> dict[_Key, int]:
        """Return how many lines came for recordings that are erased since the last call."""
        late = dict(self._waiting.late_lines)
        self._waiting.late_lines.clear()
        return late

    def live_sources(self, tenant: str, recording_id: str) -> frozenset[int]:
        """Return the ids of the senders that are writing to a recording now."""
        recording = self._recordings.get((tenant, recording_id))
        return recording.live_sources() if recording is not None else frozenset()

    async def expel(self, tenant: str, recording_id: str) -> None:
        """Close a recording that is being removed: its senders hear that it is gone, its files are let go.

        Whoever opens it after that finds it anew, unless ``is_erased`` says otherwise.
        """
        key = (tenant, recording_id)
        while (opening := self._opening.get(key)) is not None or key in self._leaving:
            await asyncio.wait([opening if opening is not None else self._leaving[key]])
        recording = self._recordings.get(key)
        if recording is not None:
            recording.refusal = Gone(f"recording {recording_id} was erased, and takes nothing more")
            recording.closed = True
            recording.refuse_pending(recording.refusal)
            while recording.busy:
                await self.committer.next_group()
            if recording.writer is not None:
                self.committer.forget(recording.writer)
            if self._recordings.get(key) is recording:
                del self._recordings[key]
        await self.committer.drop_leftovers(*key)
        # Not in the middle of sealing: what is sealed must be in the index.
        async with self._sealing:
            self._left_active.pop(key, None)
            for name in [name for name in self.committer.finished if name[:2] == key]:
                del self.committer.finished[name]

    def _all(self) -> list[Recording]:
        return list(self._recordings.values())

    async def _open(self, key: _Key, begin: Callable[[], None]) -> Recording:
        while True:
            if self._stopping:
                raise ShuttingDown("the daemon is stopping; send it again in a moment")
            recording = self._recordings.get(key)
            if recording is not None:
                self._recordings.move_to_end(key)
                return recording
            leaving = self._leaving.get(key)
            if leaving is not None:
                await asyncio.shield(leaving)
                continue
            task = self._opening.get(key)
            if task is None and len(self._recordings) + len(self._opening) >= self._config.recordings_max:
                await self._make_place()
                continue
            if task is None:
                task = asyncio.create_task(self._load(key, begin))
                self._opening[key] = task
            self._wanted[key] += 1
            try:
                # Shielded: whoever asked first may be cancelled, the others still want it.
                await asyncio.shield(task)
            finally:
                self._wanted[key] -= 1
                if not self._wanted[key]:
                    del self._wanted[key]

    async def _make_place(self) -> None:
        """Let go of recordings that nobody is writing to, those first that were used longest ago."""
        candidates = (
            recording
            for key, recording in self._recordings.items()
            # One that was just opened for somebody, who has yet to wake up, would be opened for nothing.
            if recording.is_idle() and key not in self._wanted
        )
        idle = list(itertools.islice(candidates, _SEAL_MAX))
        if not idle:
            raise TooManyRecordings(f"{self._config.recordings_max} recordings are being written at once")
        try:
            await self._let_go(idle)
        except (OSError, RrdError) as error:
            raise StorageFailed("no place for another recording: the index takes nothing in") from error

    async def _load(self, key: _Key, begin: Callable[[], None]) -> Recording:
        try:
            if self.is_erased is not None and await asyncio.to_thread(self.is_erased, *key):
                raise Gone(f"recording {key[1]} was erased, and takes nothing more")
            # A segment that could not be sealed may be gone on with, but not while that is tried again.
            unsealed = any(name[:2] == key for name in self.committer.finished)
            async with self._sealing if unsealed else contextlib.nullcontext():
                return await self._make(key, begin)
        finally:
            del self._opening[key]

    async def _make(self, key: _Key, begin: Callable[[], None]) -> Recording:
        row = await self._index.recording(*key)
        if row is None:
            begin()
        recording = Recording(
            tenant=key[0],
            recording=key[1],
            created_ms=self._clock.now_ms(),
            used_at=self._clock.monotonic(),
            row=row,
            limits=self._limits,
            waiting=self._waiting,
            wake=self.committer.wake,
        )
        self._left_active.pop(key, None)
        active = [segment for segment in row.segments if segment.state == "active"] if row else []
        if row is not None and active:
            await asyncio.to_thread(self._resume, recording, row)
            for segment in active:
                # What can't be gone on with is sealed: all before the last, and a last one that is damaged.
                name = layout.SegmentName(*key, segment.number)
                self.committer.finished[name] = row.row_id
            if recording.writer is not None:
                del self.committer.finished[recording.writer.identity.name]
        self._recordings[key] = recording
        return recording

    def _resume(self, recording: Recording, row: RecordingRow) -> None:
        """Take up the active segment where it ends."""
        last = max(segment for segment in row.segments if segment.state == "active")
        if row.segments[-1].number != last.number:
            return
        name = layout.SegmentName(row.tenant, row.recording, last.number)
        path = self._shelf.active(name)
        try:
            found = decode_identity(self._disk.read(path, 0, IDENTITY_READ_SIZE))
            intact = found is not None and self._disk.size(path) == last.size
        except (FileNotFoundError, IsADirectoryError):
            found, intact = None, False
        except OSError as error:
            raise StorageFailed(f"the recording's segment can't be read: {error.strerror}") from error
        if found is None or not intact:
            # Recovery saw to this file at the start, so somebody touched it since.
            problem = CorruptSegment(
                "size or identity is not what the index knows", path=path, offset=last.size
            )
            event(logger, logging.ERROR, "segment_not_resumed", recording=row.recording, error=problem)
            return
        recording.writer = self.committer.resume(path, found[0], last.size)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            await self.seal_idle()

    async def seal_idle(self) -> None:
        """Seal what is finished or has been silent for ``seal_idle_s``; let go of what nobody writes to.

        A recording whose page has said that it is over needs to be silent for ``seal_closed_s`` only. A
        failure is logged, and the next call tries again.
        """
        now = self._clock.monotonic()
        since = {False: now - self._config.seal_idle_s, True: now - self._config.seal_closed_s}
        silent = [
            recording
            for recording in self._all()
            if recording.used_at <= since[recording.is_over] and recording.is_silent()
        ]
        try:
            idle = [recording for recording in silent if recording.is_idle()]
            for start in range(0, len(idle), _SEAL_MAX):
                await self._let_go(idle[start : start + _SEAL_MAX])
            for recording in silent:
                # Somebody still has it open: a page left in its tab. The next event begins another segment.
                if recording.is_silent() and not recording.closed:
                    self.committer.finish_segment(recording)
            if self._started_at <= since[False]:
                await self._seal_left_active()
            await self._seal_finished()
        except (OSError, RrdError) as error:
            event(logger, logging.ERROR, "seal_failed", recordings=len(silent), error=error)

    async def _seal_left_active(self) -> None:
        """Seal what was active at the start, and has not been opened since."""
        for key in self._left_active.keys() & self._recordings.keys():
            del self._left_active[key]
        busy = self._opening.keys() | self._leaving.keys()
        keys = list(itertools.islice((key for key in self._left_active if key not in busy), _SEAL_MAX))
        if not keys:
            return
        done = asyncio.get_running_loop().create_future()
        for key in keys:
            self._leaving[key] = done
            self.committer.finished.update(self._left_active.pop(key))
        try:
            await self._seal_finished()
        finally:
            for key in keys:
                del self._leaving[key]
            done.set_result(None)

    async def _let_go(self, recordings: list[Recording]) -> None:
        """Seal the segments of recordings and forget them.

        Raises what ``Index.apply`` raises, and has done nothing, if the index lacks blocks and doesn't take
        them.
        """
        await self.committer.index_leftovers()
        done = asyncio.get_running_loop().create_future()
        # Looked at now: while others were let go, some of these may have gone, too, or be written to again.
        leaving = [recording for recording in recordings if recording.is_idle() and not recording.closed]
        for recording in leaving:
            key = (recording.tenant, recording.recording)
            recording.closed = True
            del self._recordings[key]
            self._leaving[key] = done
            self.committer.finish_segment(recording)
        try:
            await self._seal_finished()
        finally:
            for recording in leaving:
                del self._leaving[recording.tenant, recording.recording]
            done.set_result(None)

    async def _seal_finished(self) -> None:
        """Seal the segments that are written to no more. What fails is tried again with the next ones."""
        async with self._sealing:
            await self.committer.index_leftovers()
            while finished := dict(itertools.islice(self.committer.finished.items(), _SEAL_MAX)):
                names = list(finished)
                try:
                    # The index first, and on disk: recovery looks for lost blocks in active/ only.
                    await self._index.seal([(row_id, name.number) for name, row_id in finished.items()])
                    await asyncio.to_thread(self._shelf.move_to_sealed, names)
                except (OSError, RrdError) as error:
                    # Nothing is lost: what is half done is done again, here or at the next start.
                    event(logger, logging.ERROR, "seal_failed", segments=len(names), error=error)
                    return
                for name in names:
                    del self.committer.finished[name]
                    event(logger, logging.DEBUG, "sealed", recording=name.recording, segment=name.number)
                event(logger, logging.INFO, "sealed", segments=len(names))
                self.on_sealed()
