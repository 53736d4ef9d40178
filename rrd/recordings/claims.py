"""Who is busy with a recording's files, so that nobody takes them away from under somebody else.

Roll-up, eviction and removal change where a recording's events lie, so they take turns: each claims the
recording for itself. Readers of local files share it with all of them; eviction, which is never urgent for
one recording, leaves alone what is being read. All on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

_Key = tuple[str, str]


class Claims:
    """Claims of all recordings. Nothing is kept about those that nobody is busy with."""

    def __init__(self) -> None:
        self._locks: dict[_Key, tuple[asyncio.Lock, int]] = {}
        self._readers: Counter[_Key] = Counter()

    @contextlib.asynccontextmanager
    async def exclusive(self, tenant: str, recording_id: str) -> AsyncIterator[None]:
        """Hold a recording against others that ask for this; wait for one's turn."""
        key = (tenant, recording_id)
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)

    @contextlib.contextmanager
    def reading(self, tenant: str, recording_id: str) -> Iterator[None]:
        """Read a recording's local files for a while."""
        key = (tenant, recording_id)
        self._readers[key] += 1
        try:
            yield
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key]

    def has_readers(self, tenant: str, recording_id: str) -> bool:
        """Tell whether somebody reads the recording's local files now."""
        return (tenant, recording_id) in self._readers
