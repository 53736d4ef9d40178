"""Which recordings are leaving, or have left for good: what comes for them is kept out."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence

from rrd import layout
from rrd.clock import Clock
from rrd.errors import Gone, RefusedError, RrdError, StoreAway
from rrd.tombstones import Tombstone, Tombstones


class Departures:
    """The tombstones, and what is being removed right now. On the loop, except for ``refusals``."""

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

    def refusals(self, keys: Sequence[tuple[str, str]]) -> list[RrdError | None]:
        """Return for each (tenant, recording) why nothing may be written to it. For threads: it reads a file.

        ``Gone`` for what was erased, and must not come back. ``RefusedError`` while the recording is being
        removed because it expired, and ``StoreAway`` while what it would put into the store could not be told
        from what is still to be removed there.
        """
        lives = self.tombstones.lives_of(keys)
        return [self._refusal(key, lives.get(key, [])) for key in keys]

    def _refusal(self, key: tuple[str, str], lives: list[Tombstone]) -> RrdError | None:
        recording_id = key[1]
        if any(life.reason == "erased" for life in lives):
            return Gone(f"recording {recording_id} was erased, and takes nothing more")
        pending = [life for life in lives if life.state != "done"]
        if self.is_leaving(*key) or any(life.state == "begun" for life in pending):
            return RefusedError(f"recording {recording_id} is being removed; send it again in a moment")
        if pending:
            today = layout.object_prefix(*key, self._clock.now_ms())
            if any(prefix_of(life) == today for life in pending):
                return StoreAway(
                    f"recording {recording_id} expired today, and its objects can't be removed yet"
                )
        return None


def prefix_of(tombstone: Tombstone) -> str:
    """Return what the keys of its objects begin with."""
    return layout.object_prefix(tombstone.tenant, tombstone.recording_id, tombstone.created_ms)
