"""Memory that senders have made the daemon hold, shared fairly among them.

Counted is what has come in and is not handed over to a recording yet: frames and bodies under way, unfinished
events, windows of decompressors, messages that wait to be taken in, echoes that wait to be read. Each
connection counts with all it holds, as soon as that is more than ``FREE_BYTES``.

A connection that grows while the budget is full waits: nothing more is read from it, and TCP makes its sender
wait. Those who wait keep what they hold, so some connection has to be refused for the others to go on. It is
one of the tenant that holds most, of that tenant's key that holds most, and there the one that has held most
for longest. A sender that keeps sending and a small one are not chosen while there is another.

One that is refused lets go at once of what is not whole, where no thread works on it. What it still has then
counts until it is let go, although it has no share any more: the sum is what is in memory.

The last tenth is kept for tenants that hold little: a flood in one tenant takes nothing from another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rrd.errors import RefusedError, RrdError
from rrd.http.hold import Reservation

LARGE_EVENT_BYTES = 1 << 20
"""From here on decoding goes to a thread."""

READ_BYTES = 256 << 10
"""What one read of a connection brings, at most: by so much each that goes on may grow."""

PATIENCE_S = 5.0
"""How long a connection waits before another, or itself, is refused for it."""

STALLED_S = 2.0
"""A connection that could send and has not for so long is refused first, as soon as another waits."""

SWEEP_INTERVAL_S = 0.5

_AGE_S_MAX = 60.0
"""An idle socket whose compressed stream is open holds little for hours, and one that floods much at once."""

_STEP_S_MAX = 2 * SWEEP_INTERVAL_S
"""Time in which the process stood still is nothing that senders can help."""


class TooMuchUnfinished(RefusedError):
    """What is unfinished takes all the memory that there is for it."""

    code = "too_much_unfinished"


class TooSlow(RrdError):
    """A message or body came in too slowly for what it makes the daemon hold (RFC 9110, 15.5.9)."""

    code = "too_slow"
    status = 408


class Budget:
    """So many bytes for all connections together. ``bytes_max`` is exceeded by one read or step at most."""

    def __init__(
        self,
        bytes_max: int,
        *,
        rate_min: int = 0,
        grace_s: float = 60.0,
        now: Callable[[], float] | None = None,
    ) -> None:
        """``rate_min``: bytes a second that unfinished input must come with, on average, after ``grace_s``
        of the sender's turn; 0: no such limit. ``now``: monotonic seconds; None: those of the loop.
        """
        self._bound(bytes_max, rate_min, grace_s)
        self.now = now or asyncio.get_running_loop().time
        self._holds: dict[str, dict[Reservation, None]] = {}
        """Those that count, by tenant, the longest first."""
        self._held_by: dict[str, int] = {}
        self._waiting: dict[str, dict[Reservation, None]] = {}
        self._swept_at = self.now()
        self._is_stuck = False
        """One was refused for those that waited, and since then none has let go of half of what it held."""
        self.held_bytes = 0
        self.leaving_bytes = 0
        """What those hold that were refused and have not let go of it yet; in ``held_bytes``, too."""

    def reconfigure(self, bytes_max: int, *, rate_min: int, grace_s: float) -> None:
        """Take new settings. Where more is held than may be now, those that hold most are refused in time."""
        self._bound(bytes_max, rate_min, grace_s)
        self._wake()

    def _bound(self, bytes_max: int, rate_min: int, grace_s: float) -> None:
        self._bytes_max = bytes_max
        self._shared_bytes_max = bytes_max - bytes_max // 10
        self._little_bytes_max = bytes_max // 10
        self._rate_min = rate_min
        self._grace_s = grace_s

    @property
    def waiting_count(self) -> int:
        """Connections from which nothing is read because the budget is full."""
        return sum(map(len, self._waiting.values()))

    def change(self, hold: Reservation, size: int) -> None:
        """``hold`` counts with ``size`` bytes now. Where there is no room for more, it waits."""
        delta = size - hold.counted_bytes
        if not delta:
            return
        if hold.failure is not None:
            hold.counted_bytes = size
            self.leaving_bytes += delta
            self.held_bytes += delta
            if delta < 0:
                self._wake()
            return
        if not hold.counted_bytes:
            self._holds.setdefault(hold.tenant, {})[hold] = None
            hold.counted_since = hold.moved_at = self.now()
            hold.incoming_bytes_seen, hold.sender_s = 0, 0.0
        if 2 * size <= hold.counted_bytes:
            self._is_stuck = False
        hold.counted_bytes = size
        self.held_bytes += delta
        self._held_by[hold.tenant] = self._held_by.get(hold.tenant, 0) + delta
        if not size:
            self._leave(hold, 0)
            if hold.waits_since is not None:
                self._let_go_on(hold)
        if delta > 0:
            self._grown(hold)
        elif self._waiting:
            if hold.waits_since is not None and self._has_room(hold):
                self._let_go_on(hold)
            self._wake()

    def move(self, hold: Reservation, tenant: str, key: str) -> None:
        """``hold`` counts for this tenant and key from now on."""
        size, waits_since = hold.counted_bytes, hold.waits_since
        if not size or hold.failure is not None:
            hold.tenant, hold.key = tenant, key
            return
        self._leave(hold, size)
        if waits_since is not None:
            self._wait_no_more(hold)
        hold.tenant, hold.key = tenant, key
        self._holds.setdefault(tenant, {})[hold] = None
        self._held_by[tenant] = self._held_by.get(tenant, 0) + size
        if waits_since is not None:
            self._waiting.setdefault(tenant, {})[hold] = None
            if self._has_room(hold):
                self._let_go_on(hold)
        else:
            self._grown(hold)

    def _grown(self, hold: Reservation) -> None:
        # A little more than need be at once: to find who is to be refused takes a look at all.
        enough_bytes = self._bytes_max - self._bytes_max // 32
        while self._staying_bytes > self._bytes_max and (victims := self._by_burden()):
            tenant = victims[0].tenant
            for victim in victims:
                if victim.failure is None:
                    self._refuse(victim)
                is_most = self._held_by.get(tenant, 0) >= max(self._held_by.values(), default=0)
                if self._staying_bytes <= enough_bytes or not is_most:
                    break
        if hold.failure is None and hold.waits_since is None and not self._has_room(hold):
            self._waiting.setdefault(hold.tenant, {})[hold] = None
            hold.pause(self.now())

    @property
    def _staying_bytes(self) -> int:
        return self.held_bytes - self.leaving_bytes

    def _leave(self, hold: Reservation, size: int) -> None:
        """Take ``hold`` out of its tenant's sum, in which it counts with ``size`` bytes."""
        holds = self._holds[hold.tenant]
        del holds[hold]
        self._held_by[hold.tenant] -= size
        if not holds:
            del self._holds[hold.tenant], self._held_by[hold.tenant]

    def _let_go_on(self, hold: Reservation) -> None:
        self._wait_no_more(hold)
        hold.resume()

    def _wait_no_more(self, hold: Reservation) -> None:
        waiting = self._waiting[hold.tenant]
        del waiting[hold]
        if not waiting:
            del self._waiting[hold.tenant]

    def _has_room(self, hold: Reservation) -> bool:
        holds_little = self._held_by.get(hold.tenant, 0) <= self._little_bytes_max
        return self.held_bytes <= (self._bytes_max if holds_little else self._shared_bytes_max)

    def _wake(self) -> None:
        """Let so many go on as may each read once more: of the tenants that hold least, the first to wait."""
        room = max(1, (self._shared_bytes_max - self.held_bytes) // READ_BYTES)
        while self._waiting and room > 0:
            tenant = min(self._waiting, key=lambda tenant: self._held_by.get(tenant, 0))
            hold = next(iter(self._waiting[tenant]))
            if not self._has_room(hold):
                return
            self._let_go_on(hold)
            room -= 1

    def _by_burden(self, *, stalled_at: float | None = None) -> list[Reservation]:
        """Return those of the tenant's key that holds most, in the order in which they are to be refused.

        ``stalled_at``: only those that could send and have not since then.
        """
        if not self._holds:
            return []
        tenant = max(self._holds, key=lambda tenant: self._held_by[tenant])
        by_key: dict[str, int] = {}
        holds = [
            hold
            for hold in self._holds[tenant]
            if stalled_at is None or (hold.moved_at <= stalled_at and hold.is_open_to_sender())
        ]
        for hold in holds:
            by_key[hold.key] = by_key.get(hold.key, 0) + hold.counted_bytes
        if not by_key:
            return []
        key = max(by_key, key=lambda key: by_key[key])
        now = self.now()
        return sorted(
            (hold for hold in holds if hold.key == key),
            key=lambda hold: (
                hold.counted_bytes * min(now - hold.counted_since + SWEEP_INTERVAL_S, _AGE_S_MAX)
            ),
            reverse=True,
        )

    def _refuse(self, hold: Reservation, failure: RrdError | None = None) -> None:
        failure = failure or TooMuchUnfinished(
            "too much that is unfinished is coming in at once; try again later"
        )
        # Before it is told, so that what it does then finds that it has no share any more.
        size, is_stuck = hold.counted_bytes, self._is_stuck
        self.held_bytes += size
        self.leaving_bytes += size
        self.change(hold, 0)
        self._is_stuck = is_stuck
        hold.failure, hold.counted_bytes = failure, size
        hold.refuse(failure)

    def sweep(self) -> None:
        """Refuse what is too slow, and make room for those who wait. To be called now and then."""
        now = self.now()
        step_s = min(now - self._swept_at, _STEP_S_MAX)
        self._swept_at = now
        self._refuse_slow(step_s)
        self._wake()
        while self._is_short and (stalled := self._by_burden(stalled_at=now - STALLED_S)):
            self._refuse(stalled[0])
        waits_since = min(
            (hold.waits_since or now for holds in self._waiting.values() for hold in holds), default=now
        )
        # One a turn: what it gives back may be all that is needed. If not, all may go on for a read with it,
        # and wait again: then the next must not take as long.
        patience_s = SWEEP_INTERVAL_S if self._is_stuck else PATIENCE_S
        if now - waits_since >= patience_s and (most := self._by_burden()):
            self._refuse(most[0])
            self._is_stuck = True

    @property
    def _is_short(self) -> bool:
        """Some wait, and what is being let go is not enough for each of them to be read once."""
        waiting_count = self.waiting_count
        return waiting_count > 0 and self._staying_bytes > self._shared_bytes_max - waiting_count * READ_BYTES

    def _refuse_slow(self, step_s: float) -> None:
        if not self._rate_min:
            return
        slow = []
        for holds in self._holds.values():
            for hold in holds:
                if not hold.has_unfinished_input:
                    hold.sender_s, hold.incoming_bytes_seen = 0.0, 0
                elif hold.is_open_to_sender():
                    hold.sender_s += step_s
                    expected = self._rate_min * (hold.sender_s - self._grace_s)
                    if hold.sender_s > self._grace_s and hold.incoming_bytes_seen < expected:
                        slow.append(hold)
        for hold in slow:
            self._refuse(hold, too_slow(self._rate_min))

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            self.sweep()


def too_slow(rate_min: int) -> TooSlow:
    """Return what a sender is told that sends less than ``rate_min`` bytes a second."""
    return TooSlow(
        f"less than {rate_min} bytes a second came in (receive_rate_min); what was whole is kept. "
        "Send the rest again"
    )
