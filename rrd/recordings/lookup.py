"""Repeats found for blocks that may hold some: their recordings' histories are read in threads of their own.

A lookup takes its time, and may wait for the object store, so other recordings' blocks go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rrd.disk.disk import Disk, Readable
from rrd.errors import RrdError, StorageFailed, StoreAway
from rrd.index.index import Index
from rrd.index.rows import RecordingRow
from rrd.layout import SegmentName
from rrd.log import event
from rrd.recordings.history import History, LineKeys, StaleHistory, line_keys, metadata_digest
from rrd.recordings.recording import Recording
from rrd.recordings.repeats import find_new
from rrd.recordings.source import Work
from rrd.recordings.unindexed import Unindexed
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf
from rrd.wire.events import check_lines
from rrd.wire.limits import Limits
from rrd.wire.metadata import BadPair

_THREADS = 4
"""Of their own: a lookup may wait for the object store, and commits must not wait with it."""

logger = logging.getLogger(__name__)


class Lookups:
    """Lookups under way, and what they have found."""

    def __init__(
        self,
        disk: Disk,
        shelf: Shelf,
        index: Index,
        unindexed: Unindexed,
        *,
        files: Readable | None,
        settle: Callable[[Recording, Work, RrdError], None],
        wake: Callable[[], None],
    ) -> None:
        """``files``: objects. ``settle`` is told of each failure; ``wake`` is called after each lookup."""
        self._disk = disk
        self._shelf = shelf
        self._index = index
        self._unindexed = unindexed
        self._files = files
        self._settle = settle
        self._wake = wake
        self._line_keys = LineKeys()
        self._found: list[tuple[Recording, Work]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lookup")
        self._bug: BaseException | None = None
        """What ended a lookup that should not have ended it."""

    def begin(self, recording: Recording, work: Work) -> None:
        """Look for repeats in ``work``. ``take_found`` returns what is left of it."""
        task = asyncio.create_task(self._look_up(recording, work))
        self._tasks.add(task)
        task.add_done_callback(self._looked)

    def take_found(self) -> list[tuple[Recording, Work]]:
        """Return the work that has been looked up since the last call. Raises the bug that ended a lookup."""
        if self._bug is not None:
            raise self._bug
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False)

    async def _look_up(self, recording: Recording, work: Work) -> None:
        try:
            filtered = await self._filter(recording, work)
        except StoreAway as error:
            event(logger, logging.WARNING, "lookup_failed", recording=recording.recording, error=error)
            if recording.may_repeat_events(work):
                self._settle(recording, work, error)
                return
            # Metadata alone: set once more, it does no harm, and visitors come back to old recordings.
            filtered = work
        except (OSError, RrdError) as error:
            event(logger, logging.ERROR, "lookup_failed", recording=recording.recording, error=error)
            self._settle(recording, work, StorageFailed("stored events can't be read to find repeats"))
            return
        self._found.append((recording, filtered))

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Nothing waits for a lookup, so ``take_found`` raises this; its recording would wait for ever.
            self._bug = task.exception()
        # A failed one, too: what waits for room or for the end waits for the next group.
        self._wake()

    async def _filter(self, recording: Recording, work: Work) -> Work:
        loop = asyncio.get_running_loop()
        while True:
            if recording.history is None:
                await self._unindexed.tell()
                row = await self._index.recording(recording.tenant, recording.recording)
                recording.history = await loop.run_in_executor(self._threads, self._load_history, row)
            try:
                return await loop.run_in_executor(
                    self._threads, without_repeats, recording.history, work, recording.limits
                )
            except StaleHistory:
                # Its events lie elsewhere by now: they were sealed, or rolled up.
                recording.history = None

    def _load_history(self, row: RecordingRow | None) -> History:
        history = History(self._disk, self._line_keys)
        if row is None:
            return history
        holdings = Holdings.of(row)
        for holding in holdings.in_order():
            if holding.object is not None and not holding.is_local:
                assert self._files is not None, "objects, and nothing to read them with"
                history.load_object(self._files, holdings.key(holding.object), holding.object.size)
            else:
                for segment in holding.segments:
                    self._load_segment(history, holdings.name(segment.number), segment.size)
        return history

    def _load_segment(self, history: History, name: SegmentName, size: int) -> None:
        try:
            self._shelf.at(name, lambda path: history.load(path, size))
        except FileNotFoundError:
            # What is gone can't be compared. Its readers are told, and new events are welcome all the same.
            event(logger, logging.ERROR, "segment_missing", path=self._shelf.sealed(name))


def without_repeats(history: History, work: Work, limits: Limits) -> Work:
    """Return ``work`` without the lines that others have stored, and what quarantine holds already.

    Blocking: reads segments.
    """
    batch = work.batch
    applied = history.metadata_digests
    metadata = tuple(event for event in batch.metadata if metadata_digest(event.raw) not in applied)
    duplicates = len(batch.metadata) - len(metadata)
    batch = batch._replace(metadata=metadata)
    if batch.event_count:
        lines = batch.payload[:-1].split(b"\n")
        blocks = history.blocks_between(batch.first_ts, batch.last_ts)
        verdicts = find_new(
            line_keys(lines), blocks, source=work.source.id, recognised=work.source.recognised
        )
        if not all(verdicts):
            kept = [line for line, is_new in zip(lines, verdicts, strict=True) if is_new]
            duplicates += len(lines) - len(kept)
            # Checked before, and split from a good payload: only the sums are made anew.
            again = check_lines(kept, limits, first_line=1)
            batch = again._replace(metadata=batch.metadata, rejected=batch.rejected)
    return _without_known_bad(history, work._replace(batch=batch, duplicates=duplicates))


def _without_known_bad(history: History, work: Work) -> Work:
    """Return ``work`` without the lines and pairs of it that quarantine holds already."""
    batch = work.batch
    # As for events: equal lines of one sender are no repeats of each other. Metadata said again is.
    rejected = tuple(
        bad
        for bad in batch.rejected
        if not history.has_quarantined(bad.reason, bad.raw, besides=work.source.id)
    )
    known = len(batch.rejected) - len(rejected)

    def fresh(bad: tuple[BadPair, ...]) -> tuple[BadPair, ...]:
        nonlocal known
        kept = tuple(pair for pair in bad if not history.has_quarantined(pair.reason, pair.raw))
        known += len(bad) - len(kept)
        return kept

    # Metadata without a good pair leaves no digest, so it is known by its bad pairs.
    events = [(event, fresh(event.bad)) for event in batch.metadata]
    others = [(metadata, fresh(metadata.bad)) for metadata in work.metadata]
    return work._replace(
        batch=batch._replace(
            rejected=rejected,
            metadata=tuple(
                event._replace(bad=bad) for event, bad in events if event.values or bad or not event.bad
            ),
        ),
        metadata=tuple(
            metadata._replace(bad=bad)
            for metadata, bad in others
            if metadata.values or bad or not metadata.bad
        ),
        quarantined_before=known,
    )
