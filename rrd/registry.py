"""All open recordings: found or made when somebody writes, let go and sealed when they fall silent.

At most one ``Recording`` object exists for each recording, so its sequence numbers and its segment
have one owner. While one is being let go, whoever wants it waits, and then finds it anew.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import OrderedDict

from rrd import layout
from rrd.clock import Clock
from rrd.committer import Committer
from rrd.config import Config
from rrd.errors import CorruptSegment, RefusedError, RrdError, ShuttingDown, StorageFailed
from rrd.index.index import Index
from rrd.index.rows import RecordingRow
from rrd.log import event
from rrd.recording import Recording, Source, Waiting
from rrd.segment.disk import Disk
from rrd.segment.format import IDENTITY_READ_SIZE, decode_identity
from rrd.wire.limits import Limits

_SWEEP_INTERVAL_S = 1.0
_SEAL_MAX = 1000
"""Recordings sealed at a time: one index transaction, one run of renames."""

_Key = tuple[str, str]

logger = logging.getLogger(__name__)


class TooManyRecordings(RefusedError):
    """``recordings_max`` recordings are open, and none of them is idle."""

    code = "too_many_recordings"


class Registry:
    """Opens sources, holds recordings, lets them go."""

    def __init__(self, config: Config, disk: Disk, index: Index, clock: Clock, limits: Limits) -> None:
        self._config = config
        self._disk = disk
        self._index = index
        self._clock = clock
        self._limits = limits
        self._recordings: OrderedDict[_Key, Recording] = OrderedDict()
        self._opening: dict[_Key, asyncio.Task[Recording]] = {}
        self._leaving: dict[_Key, asyncio.Future[None]] = {}
        self._waiting = Waiting()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.committer = Committer(config, disk, index, clock)

    def start(self) -> list[asyncio.Task[None]]:
        """Start committing and sweeping. A task that ends by itself has failed, and the daemon with it."""
        self._tasks = [
            asyncio.create_task(self.committer.run(), name="committer"),
            asyncio.create_task(self._sweep(), name="sweep"),
        ]
        return self._tasks

    async def stop(self) -> None:
        """Refuse new sources, wait until everything that was put is safe, and let go of all files."""
        self._stopping = True
        while self._waiting.bytes or any(
            recording.has_pending() or recording.busy for recording in self._all()
        ):
            await self.committer.next_group()
        # At once, before anything else can run: what is put from here on would never be committed.
        for recording in self._all():
            recording.closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._opening.values(), return_exceptions=True)
        for recording in self._all():
            recording.closed = True
            if recording.writer is not None:
                self.committer.forget(recording.writer)

    async def open_source(
        self,
        tenant: str,
        recording_id: str,
        *,
        origin: str | None = None,
        visitor: dict[str, str] | None = None,
    ) -> Source:
        """Return a new source for a recording, which is made if there is none. ``close_source`` is owed.

        Raises ``ShuttingDown``, ``TooManyRecordings``, ``StorageFailed``.
        """
        recording = await self._open((tenant, recording_id))
        recording.sources += 1
        recording.used_at = self._clock.monotonic()
        return Source(recording, origin=origin, visitor=visitor)

    def close_source(self, source: Source) -> None:
        """Take back a source. What it put goes on its way."""
        source.recording.source_closed(source)

    async def room(self, source: Source) -> None:
        """Wait until there is room for more from ``source``: this is the backpressure on senders."""
        recording = source.recording
        while (
            recording.pending_bytes > self._config.recording_buffer_bytes_max
            or self._waiting.bytes > self._config.buffer_bytes_max
        ):
            await self.committer.next_group()

    def _all(self) -> list[Recording]:
        return list(self._recordings.values())

    async def _open(self, key: _Key) -> Recording:
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
                task = asyncio.create_task(self._load(key))
                self._opening[key] = task
            # Shielded: whoever asked first may be cancelled, the others still want it. Then look again: to
            # make place for another, it may have been let go between its opening and this waking up.
            await asyncio.shield(task)

    async def _make_place(self) -> None:
        """Let go of recordings that nobody is writing to, those first that were used longest ago."""
        idle = list(itertools.islice(filter(Recording.is_idle, self._recordings.values()), _SEAL_MAX))
        if not idle:
            raise TooManyRecordings(f"{self._config.recordings_max} recordings are being written at once")
        try:
            await self._let_go(idle)
        except (OSError, RrdError) as error:
            raise StorageFailed("no place for another recording: the index takes nothing in") from error

    async def _load(self, key: _Key) -> Recording:
        try:
            row = await self._index.recording(*key)
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
            if row is not None and row.segments and row.segments[-1].state == "active":
                await asyncio.to_thread(self._resume, recording, row)
            self._recordings[key] = recording
            return recording
        finally:
            del self._opening[key]

    def _resume(self, recording: Recording, row: RecordingRow) -> None:
        """Take up the active segment where it ends."""
        last = row.segments[-1]
        name = layout.SegmentName(row.tenant, row.recording, last.number)
        path = layout.active_path(self._config.data_dir, name)
        try:
            found = decode_identity(self._disk.read(path, 0, IDENTITY_READ_SIZE))
            intact = found is not None and self._disk.size(path) == last.size
        except FileNotFoundError:
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
        """Let go of the recordings that have been silent for ``seal_idle_s``.

        A failure is logged, and the next call tries again.
        """
        silent_since = self._clock.monotonic() - self._config.seal_idle_s
        idle = [
            recording
            for recording in self._all()
            if recording.is_idle() and recording.used_at <= silent_since
        ]
        try:
            for start in range(0, len(idle), _SEAL_MAX):
                await self._let_go(idle[start : start + _SEAL_MAX])
        except (OSError, RrdError) as error:
            event(logger, logging.ERROR, "seal_failed", recordings=len(idle), error=error)

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
            if recording.writer is not None:
                self.committer.forget(recording.writer)
        try:
            await self._seal([recording for recording in leaving if recording.row_id is not None])
        finally:
            for recording in leaving:
                del self._leaving[recording.tenant, recording.recording]
            done.set_result(None)

    async def _seal(self, recordings: list[Recording]) -> None:
        rows: list[tuple[int, int]] = []
        moves: list[layout.SegmentName] = []
        try:
            for recording in recordings:
                row = await self._index.recording(recording.tenant, recording.recording)
                for segment in row.segments if row is not None else ():
                    if row is not None and segment.state == "active":
                        rows.append((row.row_id, segment.number))
                        moves.append(layout.SegmentName(row.tenant, row.recording, segment.number))
            # The index first, and on disk: recovery looks for lost blocks in active/ only.
            await self._index.seal(rows)
            await asyncio.to_thread(move_to_sealed, self._disk, self._config.data_dir, moves)
        except (OSError, RrdError) as error:
            # Nothing is lost: start-up finishes what is half done.
            event(logger, logging.ERROR, "seal_failed", segments=len(moves), error=error)
            return
        for name in moves:
            event(logger, logging.DEBUG, "sealed", recording=name.recording, segment=name.number)
        if moves:
            event(logger, logging.INFO, "sealed", recordings=len(recordings), segments=len(moves))


def move_to_sealed(disk: Disk, data_dir: str, names: list[layout.SegmentName]) -> None:
    """Rename segments from ``active/`` to their place below ``sealed/``; on disk when this returns."""
    directories: set[str] = set()
    for name in names:
        directory = layout.sealed_dir(data_dir, name)
        if directory not in directories:
            disk.make_dirs(directory)
            directories.add(directory)
        disk.rename(layout.active_path(data_dir, name), layout.sealed_path(data_dir, name))
    # The new entries before the old directory: a crash between may leave a file in both, never in none.
    for directory in sorted(directories):
        disk.sync_dir(directory)
    if names:
        disk.sync_dir(os.path.dirname(layout.active_path(data_dir, names[0])))
