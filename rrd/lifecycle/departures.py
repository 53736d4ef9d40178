"""Which recordings are leaving, or have left for good: what comes for them is kept out."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from rrd import layout
from rrd.clock import Clock
from rrd.errors import RefusedError, StoreAway
from rrd.tombstones import Tombstone, Tombstones


class Departures:
    """The tombstones, and what is being removed right now. On the loop, except for ``is_erased``."""

    def __init__(self, tombstones: Tombstones, clock: Clock) -> None:
        self.tombstones = tombstones
        self._clock = clock
        self._leaving: Counter[tuple[str, str]] = Counter()

    @contextlib.contextmanager
    def under_way(self, tenant: str, recording_id: str) -> Iterator[None]:
        """Have a recording count as leaving."""
        key = (tenant, recording_id)
        self._leaving[key] += 1
        try:
            yield
        finally:
            self._leaving[key] -= 1
            if not self._leaving[key]:
                del self._leaving[key]

    def is_leaving(self, tenant: str, recording_id: str) -> bool:
        """Tell whether a recording is being removed right now: to a reader it has gone already."""
        return (tenant, recording_id) in self._leaving

    def is_erased(self, tenant: str, recording_id: str) -> bool:
        """Tell whether a recording was erased and must not come back. For threads: it reads a file.

        Raises ``RefusedError`` while the recording is being removed because it expired, and ``StoreAway``
        while what it would put into the store could not be told from what is still to be removed there.
        """
        lives = self.tombstones.lives(tenant, recording_id)
        if any(life.reason == "erased" for life in lives):
            return True
        pending = [life for life in lives if life.state != "done"]
        if self.is_leaving(tenant, recording_id) or any(life.state == "begun" for life in pending):
            raise RefusedError(f"recording {recording_id} is being removed; send it again in a moment")
        today = layout.object_prefix(tenant, recording_id, self._clock.now_ms())
        if any(prefix_of(life) == today for life in pending):
            raise StoreAway(f"recording {recording_id} expired today, and its objects can't be removed yet")
        return False


def prefix_of(tombstone: Tombstone) -> str:
    """Return what the keys of its objects begin with."""
    return layout.object_prefix(tombstone.tenant, tombstone.recording_id, tombstone.created_ms)
