"""One recording, sent over one connection: what ``sockets`` and ``posts`` have in common.

Plain asyncio protocols. A sender counts its events: ``sent`` of them went out, the first ``answered`` of
these have an answer, and that is an ack but for the ranges in ``refusals``. So acks need no more memory than
a note for each write that waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

import msgspec

from bench.load.messages import Packer
from bench.load.outcome import Latencies
from bench.load.plan import Plan, Target

QUOTED_CHARS = 200
"""Of what a server says, when it is told as a problem."""

_WRITE_BUFFER_BYTES = 256 << 10


class Journal:
    """What the senders of a process have seen, added up."""

    def __init__(self) -> None:
        self.started_at = 0.0
        """Start of sending, monotonic seconds."""
        self.latencies = Latencies()
        self.acked_by_second: Counter[int] = Counter()
        self.last_ack_s = 0.0
        self.bytes_sent = 0

    def acked(self, now: float, count: int) -> None:
        self.last_ack_s = now - self.started_at
        self.acked_by_second[int(self.last_ack_s)] += count


class Sender(asyncio.Protocol):
    """What both kinds have in common."""

    def __init__(self, number: int, plan: Plan, journal: Journal, *, window: int, chunk_events: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.opened: asyncio.Future[None] = loop.create_future()
        """Done when it was taken, or has failed."""
        self.ended: asyncio.Future[None] = loop.create_future()
        self.problem = ""
        """The first thing that went wrong."""
        self.sent = 0
        self.answered = 0
        self.refused = 0
        self.refusals: list[tuple[int, int]] = []
        """Ranges of answered events that were not taken."""
        self.on_room: Callable[[], None] | None = None
        """Called when there may be room again."""
        self.room_at = 0.0
        """When there last was room again for what had to wait, monotonic seconds."""
        self._batch = plan.batch
        self._window = window
        self._chunk_events = chunk_events
        self._journal = journal
        self._packer: Packer | None = None
        self._meant: deque[tuple[float, int]] = deque()
        """When each write was meant to be sent, and the events sent with it and before."""
        self._is_writable = True
        self._is_closing = False
        self._pump_until = 0.0
        self._is_pumping = False
        self._transport: asyncio.Transport | None = None
        self._loop = loop

    # Sending

    @property
    def has_room(self) -> bool:
        """Whether a message may be sent now."""
        return self._is_writable and (not self._window or self._under_way < self._window)

    @property
    def _under_way(self) -> int:
        return -(-(self.sent - self.answered) // self._batch)

    def send(self, limit: int, meant_at: float) -> None:
        """Send the events from ``sent`` to ``limit``; they count from ``meant_at``."""
        assert self._packer is not None
        data = self._packer.pack(self.sent, limit)
        self.sent = limit
        self._meant.append((meant_at, limit))
        self._journal.bytes_sent += len(data)
        self._write(data)

    def pump(self, until: float) -> None:
        """Send as fast as there is room, until this time on the monotonic clock."""
        self._pump_until = until
        self._pump_later()

    def _pump_later(self) -> None:
        if self._pump_until and not self._is_pumping:
            self._is_pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._is_pumping = False
        now = time.monotonic()
        if self.ended.done() or now >= self._pump_until:
            self._pump_until = 0.0
        elif self.has_room:
            count = self._chunk_events
            if self._window:
                count = min(count, (self._window - self._under_way) * self._batch)
            self.send(self.sent + count, now)
            # Others get their turn, and acks are read.
            self._pump_later()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # Answers

    def _ack(self, limit: int) -> None:
        """Events up to ``limit`` are acked."""
        now = time.monotonic()
        self._journal.acked(now, limit - self.answered)
        add, meant = self._journal.latencies.add, self._meant
        while self.answered < limit:
            meant_at, sent = meant[0]
            covered = min(sent, limit)
            add(now - meant_at, covered - self.answered)
            self.answered = covered
            if covered == sent:
                meant.popleft()
        self._has_room_again()

    def _has_room_again(self) -> None:
        self._pump_later()
        if self.on_room is not None:
            self.on_room()

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        self._has_room_again()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"connection lost: {error or 'closed by the server'}")

    def note(self, problem: str) -> None:
        """Keep a problem, if it's the first."""
        self.problem = self.problem or problem

    def fail(self, problem: str) -> None:
        """Give the connection up."""
        self._end(problem)

    def close(self) -> None:
        """Say goodbye; ``ended`` tells when the server has, too."""
        raise NotImplementedError

    def _end(self, problem: str = "") -> None:
        if self.ended.done():
            return
        self.note(problem)
        self.ended.set_result(None)
        if not self.opened.done():
            self.opened.set_result(None)
        if self._transport is not None:
            self._transport.close()
        self._has_room_again()

    @property
    def unacked(self) -> list[tuple[int, int]]:
        """Ranges of events that were sent and not acked."""
        waiting = [(self.answered, self.sent)] if self.answered < self.sent else []
        return self.refusals + waiting

    @property
    def acked(self) -> int:
        return self.answered - sum(limit - first for first, limit in self.refusals)


class Counts(msgspec.Struct):
    """What a summary over a socket or an answer to a POST says; all else in it doesn't matter here."""

    ok: bool = False
    final: bool = False
    successful_rows: int | None = None
    quarantined_rows: int = 0
    duplicate_rows: int = 0


counts_in = msgspec.json.Decoder(Counts).decode


def fields(target: Target) -> str:
    origin = f"Origin: {target.origin}\r\n" if target.origin else ""
    # In a header, not in the address as browsers have to: addresses end up in the logs of proxies.
    return f"Authorization: Bearer {target.key}\r\n{origin}"
