"""Whose turn it is: what is due is handed out to several workers, oldest recording first, each once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from rrd.index.contract import Index

_BATCH = 64
"""Recordings asked of the index at a time."""


class Job(NamedTuple):
    """A recording that is due."""

    row_id: int
    tenant: str
    recording_id: str


class Pass:
    """What is due, handed out to several workers, oldest first; and what became of it."""

    def __init__(
        self,
        index: Index,
        settled_before_ms: int,
        full_size: int,
        skip: frozenset[int],
        objects_max: int,
    ) -> None:
        """Hand out what ``Index.to_roll_up`` finds, but the row ids in ``skip``.

        Nothing more is handed out once ``objects_max`` objects were counted, or ``stopped_by`` is set.
        """
        self._index = index
        self._settled_before_ms = settled_before_ms
        self._full_size = full_size
        self._skip = skip
        self._objects_max = objects_max
        self._queue: deque[Job] = deque()
        self._asking = asyncio.Lock()
        self.under_way: set[int] = set()
        """Handed out. Whoever is done with one takes it away."""
        self.failed: dict[int, Exception] = {}
        """What stopped single recordings, by row id: not asked for again in this pass."""
        self.idle: set[int] = set()
        """Due, as the index says, and nothing was to do: not asked again in this pass."""
        self.stopped_by: Exception | None = None
        self.recordings = 0
        self.objects = 0
        self.segment_bytes = 0
        self.object_bytes = 0

    async def next_job(self) -> Job | None:
        """Return the oldest recording that is due and nobody's yet; None if there is none, or to stop."""
        async with self._asking:
            if self.stopped_by is not None or self.objects >= self._objects_max:
                return None
            if not self._queue:
                await self._ask()
            if not self._queue:
                return None
            job = self._queue.popleft()
            self.under_way.add(job.row_id)
            return job

    async def _ask(self) -> None:
        passed = self._skip | self.under_way | self.failed.keys() | self.idle
        found = await self._index.to_roll_up(
            settled_before_ms=self._settled_before_ms,
            full_size=self._full_size,
            limit=_BATCH + len(passed),
        )
        self._queue.extend(Job(*row) for row in found if row[0] not in passed)
