"""Sockets that send little, read on a beat: what they send waits in the kernel, and one read takes all of it.

A visitor sends some twenty small messages a second. Read as they come, each costs a turn of the event loop, a
``recv`` and a callback, which is far more than the event in it costs. Events wait up to ``flush_age_ms`` for
their commit anyway, so they may as well wait in the kernel. While the loop is busy, a socket that sends
little, but often, is looked at once a beat: its transport is paused, and its descriptor is read here
directly, which spares the event loop both the poll and the call. Whoever sends much is never on the beat.

What a look brings may have come right after the look before. So that is when it counts as having come, and it
is flushed at once if it would be of age by the next look.

The beat adapts: it is 0 (no socket is on it) while the loop has time to spare, and grows with the share of
processor time that the loop's thread takes, up to ``read_beat_ms``, and never beyond the flush age.

Nothing is lost by it: what waits in the kernel is not acked, and it is read before anything ends that would
leave it there. A close, a stop and a drop of a key call ``Pace.read_left``; the end of a connection has what
is left read by ``frames``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket as sockets
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rrd import metrics
from rrd.clock import Clock
from rrd.http.turns import BULK_BYTES
from rrd.log import emit

logger = logging.getLogger(__name__)

TICK_S = 0.02
"""How often it is looked whether anything is due."""

LOOKS_S = 0.1
"""Looks that are due within so long are done together: so few groups are committed, and large ones."""

SLICE_S = 0.005
"""How long looks and flushes may go on before others get their turn."""

KERNEL_BYTES = 128 << 10
"""``SO_RCVBUF`` of a socket on the beat. Linux doubles it for its own bookkeeping (socket(7)), and holds no
more of one; whoever sends more waits for the next look, and then leaves the beat."""

_READ_BYTES = 64 << 10
_EMPTY_LOOKS_MAX = 3
"""A socket of which so many looks in a row spared hardly a read leaves the beat: the event loop tells when it
sends again."""

READS_MIN = 4
"""A socket that is read less often in a beat stays off it. One that sends an event a second would often be
looked at in vain, and each event would be a block, where two within ``flush_age_ms`` are one otherwise."""

WATCHED_S = 0.5
"""How long it is looked how much a socket sends, before it goes on the beat. A fast one that went on it would
stand still until its look, as soon as it has filled its buffer."""

_MEASURED_S = 0.1
"""How far apart the loop's load is measured."""

_BUSY_SHARE, _IDLE_SHARE = 0.15, 0.06
"""Shares of processor time from which on the beat grows, and below which it shrinks. They are this far apart
since a beat makes the load itself half to a quarter of what it was."""

_SPREAD = 0.618034
"""The golden ratio: fractions of its multiples are spread evenly, however many there are (Weyl)."""

_SO_BUF_LOCK = 72
"""Of Linux 5.14 and later; 0 lets the kernel choose the size of buffers again."""


class OnBeat(Protocol):
    """What the beat asks of a connection."""

    transport: asyncio.Transport | None

    def is_readable(self) -> bool:
        """Tell whether nothing else keeps it from being read."""
        ...

    def take(self, data: bytes) -> bool:
        """Take in what a look brought. Return whether the next look may wait for a beat."""
        ...

    def read_or_pause(self) -> None:
        """Have the transport read, or not, as all who have a say in it want."""
        ...


class Beat:
    """All sockets of one event loop that are on the beat. For that loop's thread only."""

    adapts = True
    """False: the beat is always at its ceiling. For tests."""

    def __init__(self, clock: Clock, *, ceiling_s: float) -> None:
        """``ceiling_s``: the longest beat; 0: there is none."""
        self.now = clock.monotonic
        self._ceiling_s = ceiling_s
        self.seconds = 0.0
        """How long the beat is now; 0: sockets are read as something comes."""
        self.next_look_at = 0.0
        """During a look: when the same socket is looked at next, monotonic seconds. Otherwise 0."""
        self._due: dict[int, list[Pace]] = {}
        """By number of the tick in which they are looked at. Some may have left since (``Pace.tick``)."""
        self._tick = 0
        """Number of the last tick that was taken out of ``_due``."""
        self._count = 0
        self._spread = 0.0
        self._load = LoopLoad()
        self._is_stopped = False
        self._room = memoryview(bytearray(_READ_BYTES))
        self._rooms = (self._room,)
        self.has_urgent: Callable[[], bool] = lambda: True
        """Tells whether any socket may be urgent, so that not each need be asked."""
        self._settle()

    def __len__(self) -> int:
        """Return how many sockets are on the beat."""
        return self._count

    def reconfigure(self, *, ceiling_s: float) -> None:
        """Take a new ceiling. Sockets follow with their next look."""
        self._ceiling_s = ceiling_s
        self._settle()

    def _settle(self) -> None:
        ceiling_s = 0.0 if self._is_stopped else self._ceiling_s
        self.seconds = min(self.seconds, ceiling_s) if self.adapts else ceiling_s

    def adapt(self) -> None:
        """Measure how busy the loop is, and let the beat follow. To be called each tick."""
        if (load := self._load.measure()) is not None and self.adapts and not self._is_stopped:
            self.seconds = next_beat_s(self.seconds, load, self._ceiling_s)

    def add(self, pace: Pace) -> None:
        """Look at a socket that was read just now, for the first time within a beat."""
        now = self.now()
        self._count += 1
        self._spread = (self._spread + _SPREAD) % 1.0
        pace.looked_at = now
        pace.due_at = now + self.seconds * self._spread
        self._push(pace)

    def drop(self, pace: Pace) -> None:
        """A socket has left the beat."""
        pace.tick = -1
        self._count -= 1

    def _push(self, pace: Pace) -> None:
        # Rounded down: a look may come that much early, and never late.
        tick = max(int(pace.due_at / LOOKS_S), self._tick + 1)
        pace.tick = tick
        paces = self._due.get(tick)
        if paces is None:
            self._due[tick] = [pace]
        else:
            paces.append(pace)

    def take_due(self) -> Iterator[Pace]:
        """Yield the sockets that are to be looked at by now. Each must be given to ``look``."""
        tick = int(self.now() / LOOKS_S)
        due = self._due
        if not due:
            self._tick = tick
            return
        for number in sorted(number for number in due if number <= tick):
            self._tick = number
            paces = due[number]
            while paces:  # Those that are left here by then are found by ``stop``.
                pace = paces.pop()
                if pace.tick == number:
                    yield pace
            del due[number]
        self._tick = tick

    def look(self, pace: Pace) -> None:
        """Read what a socket has sent since the last look, and say when the next one is."""
        now, seconds = self.now(), self.seconds
        next_at = pace.due_at + seconds  # Not from now on, so that they stay as evenly spread as they are.
        if next_at <= now:
            next_at = now + seconds
        self.next_look_at = pace.due_at = next_at
        pace.came_since = pace.looked_at
        try:
            stays = self._read(pace) and seconds > 0
        finally:
            self.next_look_at = 0.0
        pace.looked_at = now
        if stays:
            if pace.is_on:
                self._push(pace)
        else:
            pace.leave()

    def _read(self, pace: Pace) -> bool:
        """Read once. Return whether the socket stays on the beat."""
        reader = pace.reader
        if not reader.is_readable():
            return False  # Whoever makes it wait lets it go on.
        try:
            data = self.read(pace.handle)
        except BlockingIOError:
            pace.empty_looks += 1
            return pace.empty_looks < _EMPTY_LOOKS_MAX
        except OSError:
            return False
        if not data:
            return False  # The event loop finds the same, and tells the end as it always does.
        size = len(data)
        pace.empty_looks = pace.empty_looks + 1 if size < pace.worth_bytes else 0
        metrics.BYTES_RECEIVED.add(size)
        return pace.give(data) and size < BULK_BYTES and pace.empty_looks < _EMPTY_LOOKS_MAX

    def read(self, handle: int) -> bytes:
        """Read as ``os.read`` does. That asks for all its room anew each time, and leaves holes."""
        return self._room[: os.readv(handle, self._rooms)].tobytes()

    def leave_if(self, is_meant: Callable[[Pace], bool]) -> None:
        """Read what some sockets have sent, and have the event loop read them at once from now on."""
        for pace in self._all():
            if is_meant(pace):
                pace.read_left()
                pace.leave()

    async def stop(self) -> None:
        """Read what each socket has sent by now, and have the event loop read all from now on."""
        self._is_stopped = True
        self._settle()
        yield_at = time.monotonic() + SLICE_S
        for pace in self._all():
            pace.read_left()
            pace.leave()
            if time.monotonic() > yield_at:
                await asyncio.sleep(0)
                yield_at = time.monotonic() + SLICE_S

    def _all(self) -> list[Pace]:
        return [pace for tick, paces in self._due.items() for pace in paces if pace.tick == tick]


class Pace:
    """Whether one socket is on the beat, and since when what it sends may wait."""

    __slots__ = (
        *("_beat", "_came_bytes", "_came_reads", "_is_bounded", "_is_urgent", "_watched_since", "came_since"),
        *("due_at", "empty_looks", "handle", "is_on", "looked_at", "reader", "tick", "worth_bytes"),
    )

    def __init__(self, beat: Beat, reader: OnBeat, handle: int, is_urgent: Callable[[], bool]) -> None:
        """``handle``: the connection's descriptor, good until ``end``. ``is_urgent`` tells whether what comes
        is awaited, so that the socket had better not be on the beat.
        """
        self._beat = beat
        self.reader = reader
        self.handle = handle
        self._is_urgent = is_urgent
        self._is_bounded = False
        self._watched_since, self._came_bytes, self._came_reads = beat.now(), 0, 0
        """When it was last found how fast it sends, monotonic seconds; and what came since then, in how many
        reads."""
        self.worth_bytes = 0
        """A look that brings less spared hardly a read."""
        self.is_on = False
        self.tick = -1
        """Number of the tick in which it is looked at; -1: it is not on the beat."""
        self.looked_at = 0.0
        """When it was read last, monotonic seconds: what is read next came after that."""
        self.came_since = 0.0
        """After when that came which was read last, monotonic seconds; 0: it was read at once."""
        self.due_at = 0.0
        self.empty_looks = 0

    def came(self, size: int) -> None:
        """The event loop has just read ``size`` bytes, all there was."""
        beat = self._beat
        now = beat.now()
        passed_s = now - self._watched_since
        self._came_bytes += size
        self._came_reads += 1
        if passed_s < WATCHED_S or self.is_on:
            return
        beats = passed_s / beat.seconds if beat.seconds else 0.0
        came_bytes, reads = self._came_bytes, self._came_reads
        self._watched_since, self._came_bytes, self._came_reads = now, 0, 0
        # Of a whole beat.
        is_fit = beats > 0 and reads >= READS_MIN * beats and came_bytes < BULK_BYTES / 2 * beats
        if is_fit and not self._is_urgent():
            self.worth_bytes = 2 * came_bytes // reads
            self.is_on = True
            self.empty_looks = 0
            self._bound()
            beat.add(self)
            self.reader.read_or_pause()

    def is_urgent(self) -> bool:
        """Tell whether what comes is awaited."""
        return self._beat.has_urgent() and self._is_urgent()

    def leave(self) -> None:
        """Have the event loop read the socket at once from now on."""
        if self.is_on:
            self._forget()
            self.reader.read_or_pause()

    def end(self) -> None:
        """The connection has ended: its descriptor is not to be used any more."""
        if self.is_on:
            self._forget()

    def _forget(self) -> None:
        self.is_on = False
        self._beat.drop(self)

    def read_left(self) -> None:
        """Take in what has come by now and waits in the kernel, as far as it may be read."""
        left = 4 * KERNEL_BYTES  # Twice what the kernel has room for: it takes a packet more than fits.
        self.came_since = self.looked_at
        while self.is_on and left > 0 and self.reader.is_readable():
            try:
                data = self._beat.read(self.handle)
            except OSError:
                return
            if not data:
                return
            metrics.BYTES_RECEIVED.add(len(data))
            self.give(data)
            left -= len(data)

    def give(self, data: bytes) -> bool:
        """Give the connection what was read. Return whether its next look may wait for a beat.

        One that fails at it ends, as the event loop would end it: the same task looks at all the others.
        """
        try:
            return self.reader.take(data)
        except Exception:  # noqa: BLE001  # whatever it is, it is this connection's alone
            emit(logger, logging.ERROR, "socket_crashed", exc_info=True)
            self.end()
            if self.reader.transport is not None:
                self.reader.transport.abort()
            return False

    def _bound(self) -> None:
        """Bound what the kernel holds of it."""
        transport = self.reader.transport
        if not self._is_bounded and transport is not None:
            self._is_bounded = True
            handle = transport.get_extra_info("socket")
            handle.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, KERNEL_BYTES)

    def came_much(self, size: int) -> None:
        """A read has brought ``size`` bytes: let the kernel hold as much as it finds right."""
        if self.is_on:
            self._watched_since, self._came_bytes, self._came_reads = self._beat.now(), 0, 0
        self._came_bytes += size
        self._came_reads += 1
        transport = self.reader.transport
        if self._is_bounded and transport is not None:
            self._is_bounded = False
            handle = transport.get_extra_info("socket")
            try:
                handle.setsockopt(sockets.SOL_SOCKET, _SO_BUF_LOCK, 0)
            except OSError:
                self._is_bounded = True  # An older kernel: it stays as it is.


class LoopLoad:
    """What share of time the calling thread spends on the processor."""

    def __init__(self) -> None:
        self._measured_at, self._used_s = time.monotonic(), time.thread_time()
        self._share = 0.0

    def measure(self) -> float | None:
        """Return the share of the last moments, 0 to 1; None if it was measured just before."""
        now = time.monotonic()
        passed_s = now - self._measured_at
        if passed_s < _MEASURED_S:
            return None
        used_s = time.thread_time()
        self._share += ((used_s - self._used_s) / passed_s - self._share) * 0.4
        self._measured_at, self._used_s = now, used_s
        return self._share


def next_beat_s(beat_s: float, load: float, ceiling_s: float) -> float:
    """Return how long the beat is to be next, at a load of 0 to 1."""
    if load > _BUSY_SHARE:
        return min(ceiling_s, beat_s + ceiling_s / 8)
    if load < _IDLE_SHARE:
        # Below an eighth of the ceiling it saves nothing.
        beat_s -= ceiling_s / 16
        return beat_s if beat_s >= ceiling_s / 8 else 0.0
    return min(beat_s, ceiling_s)
