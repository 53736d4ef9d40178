"""Which recordings and tenants are written to most just now. Nothing is counted while no one looks.

A recording knows how far it has come. A *look* notes that of all open ones, and tells the difference to the
look before; a recording that was opened in between counts if it began then. Questions within a second share
one look; half a minute after the last one its notes go.
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
_SHARE = 20
"""A look that takes long is shared for so many times as long: looking never takes more of the loop's time."""

_FORGET_S = 30.0
_SLICE = 2_000
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


_Busy = tuple[_Grown, int, int, Recording]
"""What came on, what waits, and the recording; its number before it, since no two are the same."""


class _OfTenant:
    """What one look adds up of a tenant."""

    __slots__ = ("events", "recordings", "size")

    def __init__(self) -> None:
        self.recordings = self.events = self.size = 0

    def rank(self) -> tuple[int, int, int]:
        return self.events, self.size, self.recordings


class Busiest:
    """Looks, when asked to."""

    def __init__(self, opened: Callable[[], list[Recording]], clock: Clock) -> None:
        """``opened`` returns the recordings that are open for writing."""
        self._opened = opened
        self._clock = clock
        self._known: dict[_Key, Reached] = {}
        self._looked_at = float("-inf")
        self._looked_ms = 0
        self._shared_s = _SHARED_S
        self._found = Look()
        self._looking: asyncio.Task[Look] | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    async def look(self) -> Look:
        """Return what has grown since the look before.

        Fifty thousand recordings take a quarter of a second, in turns of some milliseconds, and are then
        looked at every five seconds.
        """
        if self._looking is None or self._looking.done():
            if self._clock.monotonic() - self._looked_at < self._shared_s:
                return self._found
            self._looking = asyncio.create_task(self._look())
        # Shielded: others wait for the same look.
        return await asyncio.shield(self._looking)

    async def _look(self) -> Look:
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        over_s = now - self._looked_at if isfinite(self._looked_at) else 0.0
        known, fresh = self._known, {}
        busy: list[_Busy] = []
        tenants: dict[str, _OfTenant] = {}
        for number, recording in enumerate(self._opened()):
            key = (recording.tenant, recording.recording_id)
            fresh[key] = reached = recording.reached()
            tenant = tenants.get(recording.tenant)
            if tenant is None:
                tenant = tenants[recording.tenant] = _OfTenant()
            tenant.recordings += 1
            before = known.get(key)
            if before is None:
                before = _NOTHING if recording.created_ms >= self._looked_ms else reached
            if reached != before or recording.pending_bytes:
                grown = _growth(before, reached)
                tenant.events += grown.events
                tenant.size += grown.size
                busy.append((grown, recording.pending_bytes, number, recording))
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        self._known, self._looked_at, self._looked_ms = fresh, now, now_ms
        self._found = _told(busy, tenants, over_s)
        self._shared_s = max(_SHARED_S, _SHARE * (self._clock.monotonic() - now))
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


def _told(busy: list[_Busy], tenants: Mapping[str, _OfTenant], over_s: float) -> Look:
    if over_s <= 0:
        return Look()
    return Look(
        round(over_s, 3),
        tuple(
            BusyRecording(each.tenant, each.recording_id, *grown.rates(over_s), waiting, each.sources)
            for grown, waiting, _, each in heapq.nlargest(RECORDINGS_MAX, busy)
        ),
        tuple(
            BusyTenant(name, of.recordings, *_Grown(of.events, of.size).rates(over_s))
            for name, of in heapq.nlargest(TENANTS_MAX, tenants.items(), key=lambda item: item[1].rank())
        ),
    )
