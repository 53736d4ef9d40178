"""Which recordings and tenants are written to most just now. Nothing is counted while no one looks.

A recording knows how far it has come. A *look* notes that of all open ones, and tells the difference to the
look before; a recording that was opened in between counts if it began then. Questions within a second share
one look; ten seconds after the last one its notes go.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from math import isfinite
from typing import NamedTuple

import msgspec

from rrd.clock import Clock
from rrd.recordings.recording import Reached, Recording

RECORDINGS_MAX = 50
TENANTS_MAX = 50
"""How many of each are told, the busiest."""

_SHARED_S = 0.9
_FORGET_S = 10.0
_SLICE = 5_000
"""Recordings that are looked at in one turn of the event loop: a few milliseconds."""

_Key = tuple[str, str]


class BusyRecording(msgspec.Struct, frozen=True):
    """One recording between two looks."""

    tenant: str
    id: str
    events_per_s: float
    bytes_per_s: float
    """As stored: compressed."""
    waiting_bytes: int
    """Sent, and not yet stored."""
    sources: int
    """Bodies and sockets that write to it now."""


class BusyTenant(msgspec.Struct, frozen=True):
    """All recordings of a tenant between two looks."""

    name: str
    recordings: int
    events_per_s: float
    bytes_per_s: float


class Look(msgspec.Struct, frozen=True):
    """What one look has found; ``over_s`` 0 and no rows at the first, which has nothing to compare with."""

    over_s: float = 0.0
    recordings: tuple[BusyRecording, ...] = ()
    tenants: tuple[BusyTenant, ...] = ()


class _Grown(NamedTuple):
    events: int
    size: int

    def rates(self, over_s: float) -> tuple[float, float]:
        return round(self.events / over_s, 1), round(self.size / over_s, 1)


class Busiest:
    """Looks, when asked to."""

    def __init__(self, opened: Callable[[], list[Recording]], clock: Clock) -> None:
        """``opened`` returns the recordings that are open for writing."""
        self._opened = opened
        self._clock = clock
        self._known: dict[_Key, Reached] = {}
        self._looked_at = float("-inf")
        self._looked_ms = 0
        self._found = Look()
        self._looking: asyncio.Task[Look] | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    async def look(self) -> Look:
        """Return what has grown since the look before. A hundred thousand recordings cost some 0.1 s."""
        if self._looking is None or self._looking.done():
            if self._clock.monotonic() - self._looked_at < _SHARED_S:
                return self._found
            self._looking = asyncio.create_task(self._look())
        # Shielded: others wait for the same look.
        return await asyncio.shield(self._looking)

    async def _look(self) -> Look:
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        over_s = now - self._looked_at if isfinite(self._looked_at) else 0.0
        known, fresh, grown = self._known, {}, {}
        recordings = self._opened()
        open_of: dict[str, int] = {}
        for number, recording in enumerate(recordings):
            key = (recording.tenant, recording.recording_id)
            fresh[key] = reached = recording.reached()
            open_of[recording.tenant] = open_of.get(recording.tenant, 0) + 1
            before = known.get(key)
            if before is None and recording.created_ms >= self._looked_ms:
                before = _NOTHING
            if before is not None and reached != before:
                grown[key] = _growth(before, reached)
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        self._known, self._looked_at, self._looked_ms = fresh, now, now_ms
        self._found = _told(recordings, grown, open_of, over_s)
        self._forget_later()
        return self._found

    def _forget_later(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(_FORGET_S, self.forget)

    def forget(self) -> None:
        """Let go of the notes: the next look is a first one."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._known, self._found, self._looked_at = {}, Look(), float("-inf")


_NOTHING = Reached(0, 0, 0)


def _growth(before: Reached, after: Reached) -> _Grown:
    """Return what was stored between two looks."""
    # Of a segment that was begun and finished between two looks nothing is known: a lower bound.
    size = after.size - before.size if after.segment == before.segment else after.size
    return _Grown(after.events - before.events, max(0, size))


def _told(
    recordings: list[Recording], grown: Mapping[_Key, _Grown], open_of: Mapping[str, int], over_s: float
) -> Look:
    if over_s <= 0:
        return Look()
    sums = dict.fromkeys(open_of, _Grown(0, 0))
    for (tenant, _), more in grown.items():
        sums[tenant] = _Grown(sums[tenant].events + more.events, sums[tenant].size + more.size)
    rows = [
        (grown.get((each.tenant, each.recording_id), _Grown(0, 0)), each.pending_bytes, each)
        for each in recordings
        if each.pending_bytes or (each.tenant, each.recording_id) in grown
    ]
    return Look(
        round(over_s, 3),
        tuple(
            BusyRecording(each.tenant, each.recording_id, *more.rates(over_s), waiting, each.sources)
            for more, waiting, each in heapq.nlargest(RECORDINGS_MAX, rows, key=lambda row: row[:2])
        ),
        tuple(
            BusyTenant(tenant, open_of[tenant], *sums[tenant].rates(over_s))
            for tenant in heapq.nlargest(TENANTS_MAX, sums, key=lambda name: (sums[name], open_of[name]))
        ),
    )
