"""What is on disk and not in the index yet: blocks that it would not take, and segments to be sealed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from rrd import metrics
from rrd.errors import RrdError
from rrd.index.contract import Index
from rrd.index.rows import Commit
from rrd.layout import SegmentName
from rrd.log import emit
from rrd.shelf.shelf import Shelf

SEAL_MAX = 1000
"""Segments sealed at a time: one index transaction, one run of renames."""

_Key = tuple[str, str]

logger = logging.getLogger(__name__)


class Sealer:
    """The owner of finished segments. For the event loop only."""

    def __init__(
        self,
        index: Index,
        shelf: Shelf,
        *,
        on_sealed: Callable[[], None],
        on_indexed: Callable[[Sequence[Commit]], None],
    ) -> None:
        """``on_sealed`` is called when there are sealed segments that were active before.

        ``on_indexed`` is called with blocks that the index has taken.
        """
        self._index = index
        self._shelf = shelf
        self._on_sealed = on_sealed
        self._on_indexed = on_indexed
        self._unindexed: list[Commit] = []
        self._indexing = asyncio.Lock()
        self._finished: dict[SegmentName, int] = {}
        self._sealing = asyncio.Lock()

    async def index_blocks(self, commits: Sequence[Commit] = ()) -> None:
        """Tell the index of blocks: first of those that it would not take before. Raises as ``Index.apply``.

        Owed before a segment is sealed: a start looks for such blocks in active ones only.
        """
        async with self._indexing:
            self._unindexed += commits
            if self._unindexed:
                began_at = time.perf_counter()
                await self._index.apply(self._unindexed)
                metrics.INDEXING.observe(time.perf_counter() - began_at)
                metrics.BLOCKS_STORED.add(len(self._unindexed))
                metrics.EVENTS_STORED.add(sum([block.extent.event_count for block in self._unindexed]))
                metrics.BYTES_STORED.add(sum([block.block_size for block in self._unindexed]))
                self._on_indexed(self._unindexed)
                self._unindexed = []

    def finish(self, segments: Mapping[SegmentName, int]) -> None:
        """Take over segments to which nothing more is appended, with their recordings' row ids."""
        self._finished.update(segments)

    def resume(self, name: SegmentName) -> None:
        """Give a finished segment back: it is gone on with."""
        del self._finished[name]

    def aside(self, key: _Key) -> contextlib.AbstractAsyncContextManager[None]:
        """While this is entered, seal nothing of a recording: a finished segment may be gone on with."""
        return self._sealing if any(name[:2] == key for name in self._finished) else contextlib.nullcontext()

    async def forget(self, key: _Key) -> None:
        """Let go of what is left of a recording that is being removed. Told later, it would bring it back.

        None of the blocks were acked.
        """
        async with self._indexing:
            self._unindexed = [
                block for block in self._unindexed if (block.tenant, block.recording_id) != key
            ]
        # Not in the middle of sealing: what is sealed must be in the index.
        async with self._sealing:
            for name in [name for name in self._finished if name[:2] == key]:
                del self._finished[name]

    async def seal(self) -> None:
        """Seal the finished segments, and what fails with the next ones. Raises as ``index_blocks``."""
        async with self._sealing:
            await self.index_blocks()
            while finished := dict(itertools.islice(self._finished.items(), SEAL_MAX)):
                names = list(finished)
                try:
                    # The index first, and on disk: recovery looks for lost blocks in active/ only.
                    await self._index.seal([(row_id, name.number) for name, row_id in finished.items()])
                    await asyncio.to_thread(self._shelf.move_to_sealed, names)
                except (OSError, RrdError) as error:
                    # Nothing is lost: what is half done is done again, here or at the next start.
                    emit(logger, logging.ERROR, "seal_failed", segments=len(names), error=error)
                    return
                for name in names:
                    del self._finished[name]
                    emit(logger, logging.DEBUG, "sealed", recording=name.recording_id, segment=name.number)
                emit(logger, logging.INFO, "sealed", segments=len(names))
                self._on_sealed()
