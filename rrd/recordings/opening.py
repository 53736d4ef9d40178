"""Opens recordings: looks them up, and goes on where they ended.

Those that are asked for while others are looked up are looked up together: after a restart, or when a page is
suddenly seen by many, thousands come within a second, and each way to a thread and back costs more than the
look-up itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rrd import layout
from rrd.clock import Clock
from rrd.disk.disk import Disk
from rrd.errors import CorruptSegment, RrdError, StorageFailed
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.recordings.committer import Committer
from rrd.recordings.recording import Recording
from rrd.recordings.sealer import Sealer
from rrd.recordings.source import Waiting
from rrd.segment.format import IDENTITY_READ_SIZE, decode_identity
from rrd.shelf.shelf import Shelf
from rrd.wire.limits import Limits

TOGETHER_MAX = 64
"""Recordings looked up at once. All whose sources they are go on in one turn of the event loop."""

Key = tuple[str, str]
"""Tenant and recording id."""

Refusals = Callable[[Sequence[Key]], Sequence[RrdError | None]]
"""Tells for each recording why it must not be opened; None: it may be. May block."""

logger = logging.getLogger(__name__)


class ToOpen(NamedTuple):
    """A recording that is to be opened."""

    key: Key
    begin: Callable[[], None]
    done: asyncio.Future[None]


class Opener:
    """Opens recordings for the registry, which asks for each once at a time."""

    def __init__(
        self,
        disk: Disk,
        index: Index,
        clock: Clock,
        *,
        shelf: Shelf,
        committer: Committer,
        sealer: Sealer,
        waiting: Waiting,
        limits: Limits,
        refusals: Refusals,
        opened: Callable[[Recording], None],
    ) -> None:
        """``opened`` is called with each recording before those who wait for it go on."""
        self._disk, self._index, self._clock = disk, index, clock
        self._shelf, self._committer, self._sealer = shelf, committer, sealer
        self._waiting = waiting
        self.limits = limits
        """Those of recordings that are opened from now on."""
        self._refusals = refusals
        self._opened = opened
        self.under_way: dict[Key, asyncio.Future[None]] = {}
        """What each recording that is being opened has yet to become: see ``open``."""
        self._asked: deque[ToOpen] = deque()
        self._looking: asyncio.Task[None] | None = None
        self._resuming: set[asyncio.Task[None]] = set()

    def open(self, key: Key, begin: Callable[[], None]) -> asyncio.Future[None]:
        """Return what is done when the recording is open, or fails with the reason why it isn't.

        ``begin`` is called before one is made that isn't there, and may raise. Raises ``Gone``,
        ``StorageFailed``, and what the index raises.
        """
        done = self.under_way[key] = asyncio.get_running_loop().create_future()
        self._asked.append(ToOpen(key, begin, done))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_up_all())
        return done

    async def _look_up_all(self) -> None:
        try:
            while self._asked:
                count = min(TOGETHER_MAX, len(self._asked))
                await self._look_up([self._asked.popleft() for _ in range(count)])
        finally:
            self._looking = None

    async def _look_up(self, asked: Sequence[ToOpen]) -> None:
        keys = [each.key for each in asked]
        finished = self._sealer.finished()  # Theirs can only get fewer while they are being opened.
        try:
            refusals = await asyncio.to_thread(self._refusals, keys)
            rows = await self._index.recordings(keys)
        except BaseException as error:
            for each in asked:
                self._fail(each, error)
            if isinstance(error, Exception):
                return  # Those who wait hear of it.
            raise
        for each, refusal, row in zip(asked, refusals, rows, strict=True):
            if refusal is not None:
                self._fail(each, refusal)
            elif row is not None and (each.key in finished or _is_active(row)):
                task = asyncio.create_task(self._resume(each, row))
                self._resuming.add(task)
                task.add_done_callback(self._resuming.discard)
            else:
                self._end(each, row)

    def _end(self, asked: ToOpen, row: RecordingRow | None) -> None:
        """Open a recording that has no segment to go on with."""
        try:
            if row is None:
                asked.begin()
            recording = self._make(asked.key, row)
        except Exception as error:  # noqa: BLE001  # as in ``_look_up``
            self._fail(asked, error)
        else:
            self._finish(asked, recording)

    def _finish(self, asked: ToOpen, recording: Recording) -> None:
        recording.move("opened")
        del self.under_way[asked.key]
        self._opened(recording)
        asked.done.set_result(None)

    def _fail(self, asked: ToOpen, error: BaseException) -> None:
        del self.under_way[asked.key]
        if isinstance(error, Exception):
            asked.done.set_exception(error)
        else:
            asked.done.cancel()

    def _make(self, key: Key, row: RecordingRow | None) -> Recording:
        return Recording(
            *key, created_ms=self._clock.now_ms(), used_at=self._clock.monotonic(), row=row,
            limits=self.limits, waiting=self._waiting, wake=self._committer.wake,
        )  # fmt: skip

    async def _resume(self, asked: ToOpen, row: RecordingRow) -> None:
        """Open a recording, and go on with its active segment where that is possible."""
        try:
            async with self._sealer.aside(asked.key):
                # Read again: it may have been sealed until now.
                found = await self._index.recording(*asked.key)
                recording = await self._go_on(asked.key, row if found is None else found)
                self._finish(asked, recording)
        except BaseException as error:
            self._fail(asked, error)
            if not isinstance(error, Exception):
                raise

    async def _go_on(self, key: Key, row: RecordingRow) -> Recording:
        recording = self._make(key, row)
        active = [segment for segment in row.segments if segment.state == "active"]
        if active:
            await asyncio.to_thread(self._take_up, recording, row)
            # What can't be gone on with is sealed: all before the last, and a last one that is damaged.
            self._sealer.finish({layout.SegmentName(*key, each.number): row.row_id for each in active})
            if recording.writer is not None:
                self._sealer.resume(recording.writer.identity.name)
        return recording

    def _take_up(self, recording: Recording, row: RecordingRow) -> None:
        """Take up the active segment where it ends."""
        last = max(segment for segment in row.segments if segment.state == "active")
        if row.segments[-1].number != last.number:
            return
        name = layout.SegmentName(row.tenant, row.recording_id, last.number)
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
            emit(logger, logging.ERROR, "segment_not_resumed", recording=row.recording_id, error=problem)
            return
        recording.writer = self._committer.resume(path, found[0], last.size)


def _is_active(row: RecordingRow) -> bool:
    return any(segment.state == "active" for segment in row.segments)
