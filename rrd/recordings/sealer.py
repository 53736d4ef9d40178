"""Segments to which nothing more is appended, until they are sealed: in the index, then in ``sealed/``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable

from rrd.errors import RrdError
from rrd.index.index import Index
from rrd.layout import SegmentName
from rrd.log import event
from rrd.recordings.unindexed import Unindexed
from rrd.shelf.shelf import Shelf

SEAL_MAX = 1000
"""Segments sealed at a time: one index transaction, one run of renames."""

_Key = tuple[str, str]

logger = logging.getLogger(__name__)


class Sealer:
    """The owner of finished segments. For the event loop only."""

    def __init__(
        self, index: Index, shelf: Shelf, unindexed: Unindexed, *, on_sealed: Callable[[], None]
    ) -> None:
        """``on_sealed`` is called when there are sealed segments that were active before."""
        self._index = index
        self._shelf = shelf
        self._unindexed = unindexed
        self._on_sealed = on_sealed
        self._finished: dict[SegmentName, int] = {}
        """With their recordings' row ids."""
        self._left_active: dict[_Key, dict[SegmentName, int]] = {}
        """Segments that were active at the start, until their recordings are opened or they are finished."""
        self._sealing = asyncio.Lock()

    async def start(self) -> None:
        """Find what is active. Call it before anything can be removed: what is gone can't be sealed."""
        for tenant, recording, row_id, segment in await self._index.active_segments():
            name = SegmentName(tenant, recording, segment.number)
            self._left_active.setdefault((tenant, recording), {})[name] = row_id

    def finish(self, name: SegmentName, row_id: int) -> None:
        """Take over a segment to which nothing more is appended."""
        self._finished[name] = row_id

    def resume(self, name: SegmentName) -> None:
        """Give a finished segment back: it is gone on with."""
        del self._finished[name]

    def opened(self, key: _Key) -> None:
        """Take in that a recording was opened, which sees to its active segments itself."""
        self._left_active.pop(key, None)

    @contextlib.asynccontextmanager
    async def aside(self, key: _Key) -> AsyncIterator[None]:
        """Keep away from a recording's finished segments: one that couldn't be sealed may be gone on with."""
        has_finished = any(name[:2] == key for name in self._finished)
        async with self._sealing if has_finished else contextlib.nullcontext():
            yield

    def finish_left_active(self, is_closed: Callable[[_Key], bool]) -> list[_Key]:
        """Finish what was active at the start and has not been opened since; return its recordings.

        These are ``SEAL_MAX`` at most, and closed.
        """
        keys = list(itertools.islice(filter(is_closed, self._left_active), SEAL_MAX))
        for key in keys:
            self._finished.update(self._left_active.pop(key))
        return keys

    async def forget(self, key: _Key) -> None:
        """Let go of the segments of a recording that is being removed."""
        # Not in the middle of sealing: what is sealed must be in the index.
        async with self._sealing:
            self._left_active.pop(key, None)
            for name in [name for name in self._finished if name[:2] == key]:
                del self._finished[name]

    async def seal(self) -> None:
        """Seal all finished segments. What fails is tried again with the next ones.

        Raises what ``Index.apply`` raises, if the index lacks blocks and doesn't take them.
        """
        async with self._sealing:
            await self._unindexed.tell()
            while finished := dict(itertools.islice(self._finished.items(), SEAL_MAX)):
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
                    del self._finished[name]
                    event(logger, logging.DEBUG, "sealed", recording=name.recording, segment=name.number)
                event(logger, logging.INFO, "sealed", segments=len(names))
                self._on_sealed()
