"""Blocks that are on disk, and that the index would not take yet.

They are owed to it before anything newer is acked, looked up, or sealed: a start looks for such blocks in
active segments only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rrd import metrics
from rrd.index.index import Index
from rrd.index.rows import Commit


class Unindexed:
    """What the index lacks. For the event loop only."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._commits: list[Commit] = []
        self._indexing = asyncio.Lock()

    async def tell(self, commits: Sequence[Commit] = ()) -> None:
        """Tell the index of ``commits`` and of all that it lacks. Raises as ``Index.apply``."""
        async with self._indexing:
            self._commits += commits
            if self._commits:
                await self._index.apply(self._commits)
                metrics.BLOCKS_STORED.add(len(self._commits))
                metrics.EVENTS_STORED.add(sum(block.extent.event_count for block in self._commits))
                metrics.BYTES_STORED.add(sum(block.block_size for block in self._commits))
                self._commits = []

    async def drop(self, tenant: str, recording: str) -> None:
        """Forget blocks of a recording that is being removed: told later, they would bring it back.

        Nothing of them was acked.
        """
        async with self._indexing:
            key = (tenant, recording)
            self._commits = [block for block in self._commits if (block.tenant, block.recording) != key]
