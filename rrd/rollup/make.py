"""One object, step by step: planned, packed, put, published.

Every step is either synced or can be done again, and the index says which were done::

    plan_object      which segments: from here on nothing else is made of them
    pack             the object as a file in rolling/, thrown away at start
    put              into the store, under the key that follows from the plan; verified
    publish_object   from here on the segments are copies
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection

from rrd.clock import Clock
from rrd.config import Config
from rrd.disk.disk import Disk
from rrd.errors import CorruptSegment, ObjectMissing, ObjectRejected, SegmentError
from rrd.index.contract import Index
from rrd.index.rows import ObjectRow, RecordingRow, SummaryRow
from rrd.log import emit
from rrd.objects.store import ObjectStore
from rrd.rollup.plan import Run
from rrd.rollup.threads import NICE, Threads, stoppable
from rrd.segment.pack import Packed, PackInput, pack
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf
from rrd.summary.packing import PackedSummary
from rrd.summary.row import row_of, totals_of
from rrd.summary.totals import added_up

_SEALING_PATIENCE_S = 5.0
"""How long a segment is waited for that is sealed in the index, and still on its way to ``sealed/``."""

logger = logging.getLogger(__name__)


class NotMoved(SegmentError):
    """A segment is sealed in the index, and its file still lies in ``active/``. The next start moves it."""

    code = "segment_not_moved"


class Maker:
    """Makes objects, ``rollup_tasks`` at a time."""

    def __init__(  # noqa: PLR0917 - the parts, in the order in which everybody takes them
        self,
        config: Config,
        disk: Disk,
        index: Index,
        store: ObjectStore,
        clock: Clock,
        live_sources: Callable[[str, str], Collection[int]],
    ) -> None:
        """Take the parts. For ``live_sources`` see ``RollUp``."""
        self._config = config
        self._disk = disk
        self._shelf = Shelf(disk, config.data_dir)
        self._index = index
        self._store = store
        self._clock = clock
        self._live_sources = live_sources
        self._threads = Threads(config.rollup_tasks, name="rollup", nice=NICE)

    def reconfigure(self, config: Config) -> None:
        """Take new settings, for the objects that are begun from now on."""
        if config.rollup_tasks != self._config.rollup_tasks:
            self._threads.close()  # Those at work come to their end.
            self._threads = Threads(config.rollup_tasks, name="rollup", nice=NICE)
        self._config = config

    async def make(self, row: RecordingRow, run: Run) -> ObjectRow:
        """Make one object, and return it published.

        ``row`` is the recording's, read under the claim that the caller holds. Raises ``CorruptSegment`` if a
        segment is gone or damaged, ``NotMoved``, and what ``ObjectStore.put`` and ``Index`` raise. Whatever
        it raises, and cancelled, nothing is half published and no thread is left at work.
        """
        started = time.monotonic()
        holdings = Holdings.of(row)
        path = self._shelf.rolling(holdings.name(run.first_number))
        sources = await self._find(holdings, run)
        if not run.is_planned:
            await self._index.plan_object(row.row_id, run.first_number, run.last_number)
        try:
            summary = PackedSummary(error_tags=self._config.error_tags)
            packed = await self._pack(row, sources, path, summary)
            made = ObjectRow.published(
                run.first_number,
                run.last_number,
                packed.extent,
                last_segment_size=run.segments[-1].size,
                size=packed.size,
                crc32c=packed.crc32c,
                published_ms=0,
                has_local=True,
            )
            key = holdings.key(made)
            if not run.is_planned:
                await self._check_free(key)
            await self._store.put(key, path)
            made = made._replace(published_ms=self._clock.now_ms())
            told = await self._add_up(row.row_id, summary)
            await self._index.publish_object(row.row_id, made, packed.quarantine, told)
        finally:
            # Also after a failure: a store may be away for days, and the disk is needed.
            await self._threads.run(_unlink, self._disk, path)
        emit(
            logger, logging.DEBUG, "object_published", recording=row.recording_id, key=key,
            first_segment=run.first_number, last_segment=run.last_number, events=made.event_count,
            segment_bytes=run.size, object_bytes=made.size,
            took_ms=round((time.monotonic() - started) * 1000),
        )  # fmt: skip
        return made

    async def _add_up(self, row_id: int, summary: PackedSummary) -> SummaryRow | None:
        """Return the recording's summary with a new object; None where an earlier object has none."""
        made = summary.result
        assert made is not None, "what is packed has a summary"
        known = await self._index.summary(row_id)
        before = totals_of(known) if known is not None else None
        added = added_up(before, made.totals)
        return row_of(added) if added is not None else None

    async def _check_free(self, key: str) -> None:
        """Raise ``ObjectRejected`` if an object is there that no plan of ours explains.

        It may be of another life of the recording that began on the same day, and its only copy.
        """
        with contextlib.suppress(ObjectMissing):
            await self._store.size(key)
            raise ObjectRejected(
                f"{key} is in the store already, and the index does not know it; rrd verify tells what it is"
            )

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()

    async def _find(self, holdings: Holdings, run: Run) -> list[PackInput]:
        """Return the run's segment files."""
        deadline = time.monotonic() + _SEALING_PATIENCE_S
        while True:
            try:
                return await self._threads.run(_sources, self._shelf, holdings, run)
            except NotMoved:
                # Sealing tells the index first, and moves the file then.
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.02)

    async def _pack(
        self, row: RecordingRow, sources: list[PackInput], path: str, summary: PackedSummary
    ) -> Packed:
        stop = threading.Event()
        # Sealed segments hold nothing of a source that comes later, so this can't become stale.
        keep_sources = frozenset(self._live_sources(row.tenant, row.recording_id))

        def work() -> Packed:
            return pack(
                stoppable(self._disk, stop),
                sources,
                path,
                level=self._config.rollup_level,
                block_bytes=self._config.rollup_block_bytes,
                keep_sources=keep_sources,
                summary=summary,
            )

        return await self._threads.run(work, stop=stop)


def _sources(shelf: Shelf, holdings: Holdings, run: Run) -> list[PackInput]:
    for number in run.missing:
        path = shelf.sealed(holdings.name(number))
        raise CorruptSegment("a segment that was to be rolled up is not known any more", path=path, offset=0)
    found: list[PackInput] = []
    for segment in run.segments:
        name = holdings.name(segment.number)
        try:
            path = shelf.find(name, first="sealed")
        except FileNotFoundError:
            raise CorruptSegment("the file is gone", path=shelf.sealed(name), offset=0) from None
        if path != shelf.sealed(name):
            raise NotMoved("sealed, and not moved yet", path=path, offset=segment.size)
        found.append(PackInput(path, segment.size))
    # Its sealing may be half done: a file that a power cut puts back into active/ would look as if it could
    # grow, and an object must not be made of that.
    shelf.sync_sealed(holdings.name(run.first_number))
    return found


def _unlink(disk: Disk, path: str) -> None:
    # If it can't be deleted now, the next start does.
    with contextlib.suppress(OSError):
        disk.unlink(path)
        # Before its segments may go: they are what shows a start that the file is not needed.
        disk.sync_dir(os.path.dirname(path))
