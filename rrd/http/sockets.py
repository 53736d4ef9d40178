"""All open sockets: flushed in time, pinged, and told goodbye.

One task each for flushing and for pinging serves them all: a timer for each of ten thousand sockets would
cost more than the work it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from typing import Protocol

from rrd import metrics
from rrd.access.gate import Gate, Grant
from rrd.access.schema import Table
from rrd.clock import Clock
from rrd.http.beat import SLICE_S, TICK_S, Beat, Pace

_PING_TIMEOUT_S = 1.0


class Socket(Protocol):
    """What a socket must be able to do to be looked after here."""

    grant: Grant
    flush_due_at: float
    """When what it gathers now has come of age, monotonic seconds. Kept here by ``Sockets``."""

    def flush(self) -> None:
        """Hand what was gathered over to the recording. Must not raise."""
        ...

    async def ping(self) -> None: ...

    def cut_off(self) -> None:
        """Take nothing that comes from now on: its key isn't good any more. Closes with 1008."""
        ...

    async def goodbye(self, *, code: int, reason: str) -> None:
        """Flush, say what was stored, and close with a WebSocket close code (RFC 6455, 7.4)."""
        ...


class Sockets:
    """The sockets that are open now."""

    def __init__(
        self, *, clock: Clock, flush_age_ms: int, ping_interval_s: int, read_beat_ms: int = 0
    ) -> None:
        self._clock = clock
        self._flush_age_s = flush_age_ms / 1000
        self.beat = Beat(clock, ceiling_s=min(read_beat_ms, flush_age_ms) / 1000)
        self._ping_interval_s = ping_interval_s
        self._reconfigured = asyncio.Event()
        self._open: dict[Socket, None] = {}
        self._gathering: list[tuple[float, int, Socket]] = []
        """A heap: when each is due, monotonic seconds, and which of several comes first."""
        self._numbers = itertools.count()
        self._due_by_next_look: list[Socket] = []
        """What gathers in a look, and would be of age by the next one."""
        self._pinging: dict[Socket, asyncio.Task[None]] = {}
        """Pings that wait for their clients to read."""

    def __len__(self) -> int:
        return len(self._open)

    def reconfigure(self, *, flush_age_ms: int, ping_interval_s: int, read_beat_ms: int = 0) -> None:
        """Take new settings. What is gathered now comes of age no later than what begins now."""
        self._flush_age_s = flush_age_ms / 1000
        self.beat.reconfigure(ceiling_s=min(read_beat_ms, flush_age_ms) / 1000)
        latest = self._clock.monotonic() + self._flush_age_s
        gathering = [entry for entry in self._gathering if entry[2].flush_due_at == entry[0]]
        self._gathering.clear()
        for due_at, number, socket in gathering:
            socket.flush_due_at = min(due_at, latest)
            heapq.heappush(self._gathering, (socket.flush_due_at, number, socket))
        if ping_interval_s != self._ping_interval_s:
            self._ping_interval_s = ping_interval_s
            self._reconfigured.set()

    def add(self, socket: Socket) -> None:
        self._open[socket] = None
        metrics.SOCKETS_OPEN.add(1)

    def remove(self, socket: Socket) -> None:
        if socket in self._open:
            del self._open[socket]
            metrics.SOCKETS_OPEN.add(-1)

    def gathers(self, socket: Socket, since: float) -> None:
        """``socket`` holds its first event since it was flushed, which came after ``since``, monotonic
        seconds: flush it when that has come of age.
        """
        socket.flush_due_at = due_at = since + self._flush_age_s
        if due_at <= self.beat.next_look_at:
            self._due_by_next_look.append(socket)  # Nothing else comes until then.
        else:
            heapq.heappush(self._gathering, (due_at, next(self._numbers), socket))

    def followed(self) -> None:
        """A recording is followed from now on: what its sockets send is read at once."""
        self.beat.leave_if(Pace.is_urgent)

    async def run(self) -> None:
        """Flush and ping until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush_in_time())
            group.create_task(self._ping())

    async def _flush_in_time(self) -> None:
        gathering, beat, monotonic = self._gathering, self.beat, self._clock.monotonic
        while True:
            await asyncio.sleep(TICK_S)
            beat.adapt()
            yield_at = monotonic() + SLICE_S
            for pace in beat.take_due():
                beat.look(pace)
                self._flush_looked_at()
                if monotonic() > yield_at:
                    await asyncio.sleep(0)
                    yield_at = monotonic() + SLICE_S
            now = monotonic()
            while gathering and gathering[0][0] <= now:
                due_at, _, socket = heapq.heappop(gathering)
                if socket.flush_due_at == due_at:  # Otherwise it was flushed before, and gathers anew.
                    socket.flush()
                if monotonic() > yield_at:
                    await asyncio.sleep(0)
                    yield_at = monotonic() + SLICE_S

    def _flush_looked_at(self) -> None:
        if self._due_by_next_look:
            for socket in self._due_by_next_look:
                socket.flush()
            self._due_by_next_look.clear()

    async def _ping(self) -> None:
        # Proxies cut sockets that are silent, and the rrweb client never comes back to a cut one. Nothing is
        # done about a missing answer: a sleeping laptop may wake up again, and TCP knows when to give up.
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    # The pause under way may be a long one, of a setting that was a mistake.
                    async with asyncio.timeout(self._ping_interval_s):
                        await self._reconfigured.wait()
                self._reconfigured.clear()
                for number, socket in enumerate(list(self._open)):
                    self._ping_soon(socket)
                    if number % 100 == 99:
                        await asyncio.sleep(0)
        finally:
            for task in self._pinging.values():
                task.cancel()

    def _ping_soon(self, socket: Socket) -> None:
        """Ping a socket in a task of its own: that waits while its client doesn't read, and no other may."""
        # One at a time is enough: the frame is in the buffer already when the wait begins.
        if socket in self._open and socket not in self._pinging:
            self._pinging[socket] = task = asyncio.create_task(self._ping_one(socket))
            task.add_done_callback(lambda _: self._pinging.pop(socket))

    async def _ping_one(self, socket: Socket) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_PING_TIMEOUT_S):
                await socket.ping()

    def keys_in_use(self) -> set[tuple[Table, str]]:
        """Return which keys open sockets go by. May be called from another thread."""
        # The copy is made in one step of the interpreter.
        grants = {open_.grant for open_ in self._open.copy()}
        return {("keys" if grant.kind == "key" else "signing_keys", grant.key_id) for grant in grants}

    async def drop_revoked(self, gate: Gate) -> None:
        """Take nothing more from the sockets whose key was revoked or has expired, and close them."""
        for number, socket in enumerate([open_ for open_ in self._open if not gate.is_live(open_.grant)]):
            socket.cut_off()
            if number % 100 == 99:
                await asyncio.sleep(0)

    async def close_all(self) -> None:
        """Read what has come, and say goodbye to everybody (1012, service restart)."""
        await self.beat.stop()
        goodbyes = [socket.goodbye(code=1012, reason="server restarts") for socket in self._open]
        await asyncio.gather(*goodbyes, return_exceptions=True)
