"""When a connection is not read: while it holds too much, while others have their turn, and before its beat.

aiohttp's own reasons to pause stay as they are. The transport reads where none of them speaks against it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp.web_protocol import RequestHandler

from rrd.http.beat import Pace
from rrd.http.turns import BULK_BYTES


class ReadInTurn(RequestHandler):
    """A connection of aiohttp's that others may make wait."""

    __slots__ = ("_awaits_turn", "_is_held_back", "_pace", "_turns")

    def __init__(self, manager: Any, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(manager, loop=loop, **settings)
        self._is_held_back = self._awaits_turn = False
        self._pace: Pace | None = None
        """That of a socket that may be read on a beat."""
        self._turns = manager.turns

    # For ``Reservation``

    def hold_back(self, is_full: bool) -> None:
        """Read nothing while ``is_full``. aiohttp's own reasons to pause stay as they are."""
        self._is_held_back = is_full
        self.read_or_pause()

    # For ``ReadingTurns``

    def await_turn(self, is_waiting: bool) -> None:
        """Read nothing while ``is_waiting``."""
        self._awaits_turn = is_waiting
        self.read_or_pause()

    def is_readable(self) -> bool:
        """Tell whether nothing keeps this connection from being read."""
        return not (self._is_held_back or self._awaits_turn or self._reading_paused or self._buffer_paused)

    # For ``Beat``

    def set_pace(self, pace: Pace) -> None:
        """From now on the socket may be read on a beat."""
        self._pace = pace

    def take(self, data: bytes) -> bool:
        """Take in what one read of a socket brought. Return whether the next one may wait for a beat."""
        frames, pace = self._payload_parser, self._pace
        if frames is None or pace is None or self._force_close or self._close:
            return False
        if frames.feed_data(data)[0]:
            self.close()
            return False
        if len(data) >= BULK_BYTES:
            pace.came_much(len(data))
            self._turns.came(self, len(data))
            return False
        return frames.is_calm and self.is_readable() and not pace.is_urgent()

    def read_or_pause(self) -> None:
        """Have the transport read if nothing keeps this connection from it, and no beat is waited for."""
        if self.is_readable() and (self._pace is None or not self._pace.is_on):
            self._resume_transport_reading()
        else:
            self._pause_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called for each piece that is taken of a body, of which one read may bring thousands."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _resume_transport_reading(self) -> None:
        is_on_beat = self._pace is not None and self._pace.is_on
        if not (self._is_held_back or self._awaits_turn or is_on_beat):
            super()._resume_transport_reading()

    def take_at_once(self, data: bytes) -> None:
        """Take in what the event loop has read of a socket."""
        pace = self._pace
        assert pace is not None
        pace.came_since = 0.0
        if self.take(data):
            pace.came(len(data))

    def end_pace(self) -> None:
        """The connection has ended."""
        if self._pace is not None:
            self._pace.end()
            self._pace = None  # They know each other.
