"""How much is read, and how many sockets open, in one turn of the event loop, shared fairly.

A turn reads each connection for which something has arrived, and each brings up to ``budget.READ_BYTES``.
A thousand bodies at once would take most of a second, and whoever waits for an ack waits for several turns.
So once a turn has brought ``turn_bytes``, the connections that bring much are paused, and go on by turns: a
tenant with one body does not wait for the thousand of another. Connections that send little are left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from rrd.http.budget import READ_BYTES
from rrd.shares.queue import FairQueue, Who

BULK_BYTES = 32 << 10
"""A read that brings less costs no more than the message in it."""

_OPENINGS_MAX = 32
"""Sockets that open in one turn: a quarter of a millisecond each."""


class Reader(Protocol):
    """What ``ReadingTurns`` asks of a connection."""

    def who(self) -> Who:
        """Return for whom it is read, as far as that is known."""
        ...

    def await_turn(self, is_waiting: bool) -> None:
        """Read nothing while ``is_waiting``."""
        ...

    def is_readable(self) -> bool:
        """Tell whether anything would be read of it now."""
        ...


CallSoon = Callable[[Callable[[], None]], object]
"""The event loop's, which calls in its next turn."""


class _NextTurn:
    """Has something called in the next turn, once, however often it is asked for."""

    def __init__(self, call_soon: CallSoon, callback: Callable[[], None]) -> None:
        self._call_soon = call_soon
        self._callback = callback
        self._is_due = False

    def ask(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._call_soon(self._begin)

    def _begin(self) -> None:
        self._is_due = False
        self._callback()


class ReadingTurns:
    """All connections of one event loop. Costs nothing as long as little comes in."""

    def __init__(self, call_soon: CallSoon, turn_bytes: int) -> None:
        """``turn_bytes``: what may come in one turn."""
        self._turn_bytes_max = turn_bytes
        self._readers_max = max(1, turn_bytes // READ_BYTES)
        self._next_turn = _NextTurn(call_soon, self._go_on)
        self._reading: dict[Reader, None] = {}
        """Those that brought much in this turn, or were let go on for it."""
        self._waiting: FairQueue[Reader] = FairQueue()
        self._awaiting: set[Reader] = set()
        """Those of ``_waiting`` that are still there."""
        self._turn_bytes = 0

    def came(self, reader: Reader, size: int) -> None:
        """``reader`` has just brought ``size`` bytes, at least ``BULK_BYTES``."""
        self._turn_bytes += size
        self._reading[reader] = None
        self._next_turn.ask()
        if self._turn_bytes >= self._turn_bytes_max:
            for each in self._reading:
                self._pause(each)
            self._reading.clear()

    def forget(self, reader: Reader) -> None:
        """The connection is gone."""
        self._reading.pop(reader, None)
        # It stays in the queue until its turn: to find it takes a look at all.
        self._awaiting.discard(reader)

    def _pause(self, reader: Reader) -> None:
        if reader not in self._awaiting:
            self._awaiting.add(reader)
            self._waiting.push(reader.who(), reader)
            reader.await_turn(True)

    def _go_on(self) -> None:
        """Called before the connections are looked at again: let some of those that wait go on."""
        self._turn_bytes = 0
        self._reading.clear()
        while len(self._reading) < self._readers_max and (found := self._waiting.pop()) is not None:
            _, reader = found
            if reader not in self._awaiting:
                continue
            self._awaiting.remove(reader)
            reader.await_turn(False)
            if reader.is_readable():
                self._reading[reader] = None
        if self._waiting:
            self._next_turn.ask()


class OpeningTurns:
    """Lets sockets open by turns: thousands that ask at once must not take a turn that lasts a second."""

    def __init__(self, call_soon: CallSoon, on_crowd: Callable[[], None] = lambda: None) -> None:
        """``on_crowd`` is called in each turn after which more have to wait."""
        self._on_crowd = on_crowd
        self._next_turn = _NextTurn(call_soon, self._open_some)
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        self._left = _OPENINGS_MAX
        """How many more may open in this turn."""

    async def wait(self, who: Who) -> None:
        """Return when a socket of ``who`` may open. Of those that wait, each tenant has its turn."""
        self._next_turn.ask()
        if self._left:
            self._left -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.push(who, turn)
        await turn

    def _open_some(self) -> None:
        self._left = _OPENINGS_MAX
        while self._left and (found := self._waiting.pop()) is not None:
            turn = found[1]
            if not turn.done():  # Its client may have gone.
                turn.set_result(None)
                self._left -= 1
        if self._left < _OPENINGS_MAX:
            self._next_turn.ask()
        if self._waiting:
            self._on_crowd()
