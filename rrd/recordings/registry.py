"""All open recordings: found or made when a source asks, let go and sealed when they fall silent.

At most one ``Recording`` object exists for each recording, so its sequence numbers and its segment
have one owner. While one is being opened or let go, sources that ask for it wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from typing import Any

from rrd import layout, metrics
from rrd.clock import Clock
from rrd.config import Config
from rrd.disk.disk import Disk, Readable
from rrd.errors import DataDirGone, Gone, RefusedError, RrdError, ShuttingDown, StorageFailed
from rrd.index.contract import Index
from rrd.log import emit
from rrd.recordings.committer import Committer
from rrd.recordings.followers import Followers
from rrd.recordings.opening import Key, Opener, Refusals
from rrd.recordings.recording import Recording
from rrd.recordings.sealer import SEAL_MAX, Sealer
from rrd.recordings.source import Source, Waiting
from rrd.recordings.states import UNDER_WAY
from rrd.shares.queue import Who
from rrd.shares.room import Ledger, Times
from rrd.shelf.shelf import Shelf
from rrd.wire.limits import limits_of

_SWEEP_INTERVAL_S = 1.0
_PLACES_TIMES = Times(tenant=9, key=0, address=0)

_STALL_TOLD_S = 15.0
"""A write that takes longer makes the daemon not ready. A locked index is waited for less long."""

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
        *,
        files: Readable,
        refusal: Callable[[], RefusedError | None],
        refusals: Refusals,
        on_sealed: Callable[[], None],
    ) -> None:
        """``files``: objects, for worker threads. ``refusal``: why nothing new is taken now, or None.

        ``refusals`` tells why recordings must not be opened. ``on_sealed`` is called when there are sealed
        segments that were active before.
        """
        self._refusal = refusal
        self._config = config
        shelf = Shelf(disk, config.data_dir)
        self._index = index
        self._clock = clock
        self._recordings: OrderedDict[Key, Recording] = OrderedDict()
        self._wanted: Counter[Key] = Counter()
        self._leaving: dict[Key, asyncio.Future[None]] = {}
        self.waiting = Waiting()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._places = Ledger(config.recordings_max, _PLACES_TIMES)
        """Taken by recordings that are written to; idle ones can make room."""
        self._started_at = clock.monotonic()
        self._left_active: dict[Key, dict[layout.SegmentName, int]] = {}
        """Segments that were active at the start, until their recordings are opened or they are sealed."""
        self.followers = Followers(config)
        self._sealer = Sealer(index, shelf, on_sealed=on_sealed, on_indexed=self.followers.indexed)
        self.committer = Committer(
            config, disk, index, clock, self._sealer, followers=self.followers, files=files
        )
        self._opener = Opener(
            disk, index, clock, shelf=shelf, committer=self.committer, sealer=self._sealer,
            waiting=self.waiting, limits=limits_of(config), refusals=refusals, opened=self._opened,
        )  # fmt: skip
        self._opening = self._opener.under_way

    def reconfigure(self, config: Config) -> None:
        """Take new settings. Recordings that are open keep the limits that they were opened with."""
        self._config, self._opener.limits = config, limits_of(config)
        self._places.resize(config.recordings_max)
        self.followers.reconfigure(config)
        self.committer.reconfigure(config)

    async def start(self) -> list[asyncio.Task[None]]:
        """Start committing and sweeping. A task that ends by itself has failed, and the daemon with it."""
        self._started_at = self._clock.monotonic()
        # Read before anything can be removed: a segment that is gone from the index can't be sealed.
        for tenant, recording_id, row_id, segment in await self._index.active_segments():
            name = layout.SegmentName(tenant, recording_id, segment.number)
            self._left_active.setdefault((tenant, recording_id), {})[name] = row_id
        self._tasks = [
            asyncio.create_task(self.committer.run(), name="committer"),
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self.committer.watch(), name="commit progress"),
        ]
        return self._tasks

    async def stop(self) -> None:
        """Refuse new sources, wait until everything that was put is safe, and let go of all files."""
        self._stopping = True
        while self.waiting.bytes or any(recording.state in UNDER_WAY for recording in self.opened()):
            if not await self.committer.has_next_group():
                break
        # At once, before anything else can run: what is put from here on would never be committed.
        for recording in self.opened():
            recording.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._opening.values(), return_exceptions=True)
        await self.committer.writes.close()
        for recording in self.opened():
            recording.stop()
            if recording.writer is not None:
                self.committer.forget(recording.writer)
        self.committer.close()

    @contextlib.asynccontextmanager
    async def source(self, tenant: str, recording_id: str, **more: Any) -> AsyncIterator[Source]:
        """While this is entered, hold a recording open for a new source, as ``open_source`` does."""
        source = await self.open_source(tenant, recording_id, **more)
        try:
            yield source
        finally:
            source.close()

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
        """Return a new source, whose ``close`` is owed, of a recording that is made if there is none.

        ``lines``: how many the sender has brought along, to be counted if the recording is erased.
        ``begin``: called before one is made, which is not made if it raises. Raises ``ShuttingDown``,
        ``TooManyRecordings``, ``StorageFailed``, ``DiskFull``, ``Gone``.
        """
        self.check_room_on_disk()
        try:
            recording = await self._open((tenant, recording_id), begin)
        except Gone:
            self.waiting.late_lines[tenant, recording_id] += lines
            raise
        if not recording.sources:
            if not self._places.may_take(Who(tenant)):
                raise TooManyRecordings("this sender's share of the recordings is being written at once")
            self._places.take(Who(tenant))
        recording.sources += 1
        recording.used_at = self._clock.monotonic()
        room, on_close = partial(self._room, recording), partial(self._close, recording)
        return Source(recording_id, recording.put, room, on_close=on_close, origin=origin, visitor=visitor)

    def _close(self, recording: Recording, source: Source) -> None:
        recording.source_closed(source)
        if not recording.sources:
            self._places.give_back(Who(recording.tenant))

    async def knows(self, tenant: str, recording_id: str) -> bool:
        """Tell whether there is such a recording, or one is being made."""
        key = (tenant, recording_id)
        is_here = key in self._recordings or key in self._opening
        return is_here or await self._index.recording(*key) is not None

    async def _room(self, recording: Recording) -> None:
        """Wait as ``Source.room`` does.

        The last tenth of the room is for tenants that take no more than as much.
        """
        self.check_room_on_disk()
        bytes_max = self._config.buffer_bytes_max
        waiting, kept_back = self.waiting, bytes_max // 10
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

    async def why_not_stored(self, *, tries: bool = True) -> str | None:
        """Return why writes fail now, a sentence for people; None if they don't. ``tries``: see ``Writes``.

        The disk's reserve alone is no failure: reads, erasure and roll-up go on, and they make room.
        """
        refusal = self._refusal()
        if isinstance(refusal, DataDirGone):
            return str(refusal)
        stalled_s = self.committer.stalled_s()
        if stalled_s > _STALL_TOLD_S:
            return f"a write has not ended for {stalled_s:.0f} s; see whether the disk hangs (dmesg, iostat)"
        return await self.committer.writes.problem(anew=refusal is not None, tries=tries)

    def take_late_lines(self) -> dict[Key, int]:
        """Return how many lines came for recordings that are erased since the last call."""
        late = dict(self.waiting.late_lines)
        self.waiting.late_lines.clear()
        return late

    def live_sources(self, tenant: str, recording_id: str) -> frozenset[int]:
        """Return the ids of the senders that are writing to a recording now."""
        recording = self._recordings.get((tenant, recording_id))
        return recording.live_sources() if recording is not None else frozenset()

    async def expel(self, tenant: str, recording_id: str) -> None:
        """Close a recording that is being removed: its senders hear that it is gone, its files are let go.

        A source that asks for it after that finds it anew, unless ``refusals`` says otherwise.
        """
        key = (tenant, recording_id)
        self.followers.end(tenant, recording_id, "erased")
        while (change := self._opening.get(key) or self._leaving.get(key)) is not None:
            await asyncio.wait([change])
        recording = self._recordings.get(key)
        if recording is not None:
            recording.expel(Gone(f"recording {recording_id} was erased, and takes nothing more"))
            while recording.state == "expelling":
                await self.committer.next_group()
            if recording.writer is not None:
                self.committer.forget(recording.writer)
            if self._recordings.get(key) is recording:
                del self._recordings[key]
        self._left_active.pop(key, None)
        await self._sealer.forget(key)

    def opened(self) -> list[Recording]:
        """Return those of all tenants, the one that was asked for last at the end."""
        return list(self._recordings.values())

    async def _open(self, key: Key, begin: Callable[[], None]) -> Recording:
        while True:
            if self._stopping:
                raise ShuttingDown("the daemon is stopping; send it again in a moment")
            recording = self._recordings.get(key)
            if recording is not None:
                self._recordings.move_to_end(key)
                return recording
            change = self._opening.get(key) or self._leaving.get(key)
            if change is None:
                if len(self._recordings) + len(self._opening) >= self._config.recordings_max:
                    await self._make_place()
                    continue
                change = self._opener.open(key, begin)
            self._wanted[key] += 1
            try:
                # Shielded: the first to ask may be cancelled, the others still want it.
                await asyncio.shield(change)
            finally:
                self._wanted[key] -= 1
                if not self._wanted[key]:
                    del self._wanted[key]

    async def _make_place(self) -> None:
        """Let go of recordings that nobody is writing to, those first that were used longest ago."""
        # One that was just opened for a task that has yet to wake up would be opened for nothing.
        found = (each for key, each in self._recordings.items() if each.is_idle and key not in self._wanted)
        idle = list(itertools.islice(found, SEAL_MAX))
        if not idle:
            raise TooManyRecordings(f"{self._config.recordings_max} recordings are being written at once")
        try:
            await self._let_go(idle)
        except (OSError, RrdError) as error:
            raise StorageFailed("no place for another recording: the index takes nothing in") from error

    def _opened(self, recording: Recording) -> None:
        key = (recording.tenant, recording.recording_id)
        self._recordings[key] = recording
        self._left_active.pop(key, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            await self.seal_idle()
            metrics.RECORDINGS_OPEN.set(len(self._recordings))

    async def seal_idle(self) -> None:
        """Seal what is finished or has been silent for ``seal_idle_s``; let go of what nobody writes to.

        Where the page has said that it is over, for ``seal_closed_s``. A failure is logged, and tried again.
        """
        now = self._clock.monotonic()
        since = {False: now - self._config.seal_idle_s, True: now - self._config.seal_closed_s}
        silent = [
            each for each in self.opened() if each.used_at <= since[each.is_over] and each.state == "silent"
        ]
        try:
            idle = [recording for recording in silent if recording.is_idle]
            for start in range(0, len(idle), SEAL_MAX):
                await self._let_go(idle[start : start + SEAL_MAX])
            for recording in silent:
                # It is still held open: by a page left in its tab. The next event begins another segment.
                if recording.state == "silent":
                    self.committer.finish_segment(recording)
            await self._seal(self._finish_left_active() if self._started_at <= since[False] else ())
        except (OSError, RrdError) as error:
            emit(logger, logging.ERROR, "seal_failed", recordings=len(silent), error=error)

    def _finish_left_active(self) -> list[Key]:
        """Finish what was active at the start and has not been opened since; return whose that is."""
        closed = (key for key in self._left_active if key not in self._opening)
        keys = list(itertools.islice(closed, SEAL_MAX))
        for key in keys:
            self._sealer.finish(self._left_active.pop(key))
        return keys

    async def _let_go(self, recordings: list[Recording]) -> None:
        """Seal the segments of recordings and forget them.

        Raises what ``Index.apply`` raises, and has done nothing, if the index doesn't take blocks it lacks.
        """
        await self._sealer.index_blocks()
        # Looked at now: while others were let go, some of these may have gone, too, or be written to again.
        leaving = {(each.tenant, each.recording_id): each for each in recordings if each.is_idle}
        for key, recording in leaving.items():
            recording.move("let go")
            del self._recordings[key]
            self.committer.finish_segment(recording)
        await self._seal(leaving)

    async def _seal(self, leaving: Collection[Key]) -> None:
        """Seal what is finished. Sources that ask for a recording that is leaving wait until then."""
        done = asyncio.get_running_loop().create_future()
        self._leaving.update(dict.fromkeys(leaving, done))
        try:
            await self._sealer.seal()
        finally:
            for key in leaving:
                del self._leaving[key]
            done.set_result(None)
