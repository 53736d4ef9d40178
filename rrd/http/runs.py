"""What waits to be received on a socket: aiohttp's queue, and in front of it a run of text messages.

``frames`` fills it, ``gathering`` empties it. A run also counts its messages, so that the sender of empty
ones is made to wait, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import WSMessage, WSMsgType
from aiohttp._websocket.models import WSMessageTextBytes
from aiohttp._websocket.reader import WebSocketDataQueue

_TEXT = WSMsgType.TEXT
_BYTES = (bytes, bytearray)

MESSAGES_MAX = 1 << 12
"""Messages in a run, at most: those of junk may be one byte long, and each takes a hundred to hold."""

_MESSAGE_COST_BYTES = 64
"""What a message in a run counts beside its own bytes: an empty one is work, and memory, too."""

MARK = WSMessage(WSMsgType.CONTINUATION, None, None)
"""Queued where parsing stops until it is received."""

CLOSED = WSMessage(WSMsgType.CLOSED, None, None)
"""The end of what is received."""

Message = WSMessage | WSMessageTextBytes


def run_of(messages: list[bytes], size: int) -> WSMessageTextBytes:
    """Return a run of messages, of ``size`` bytes together."""
    return WSMessageTextBytes(_TEXT, cast(Any, messages), cast(Any, size))


def size_of(message: Message) -> int:
    """Return how many bytes a message of text or data has, or all of a run together."""
    # A run knows, in ``extra``: a sum over thousands of small messages takes as long as their check.
    return cast(int, message.extra) if type(message.data) is list else len(message.data)


class Runs(WebSocketDataQueue):
    """aiohttp's queue, and in front of it the run that gathers."""

    def __init__(self, protocol: Any, run_bytes: int) -> None:
        super().__init__(protocol, run_bytes, loop=asyncio.get_running_loop())
        self.on_first: Callable[[], None] | None = None
        """None: text messages are not gathered."""
        self.run_bytes = run_bytes
        self.messages: list[bytes | bytearray] = []
        self.size = 0
        """Bytes in ``messages``."""
        self.keeps_back = False
        """The next message is not to be queued: ``kept_back`` is where it goes."""
        self.kept_back: Message | None = None
        self.feigned_bytes = 0
        """What the queue takes items for that stall it, beyond what they have."""
        self.is_closed_off = False
        """What comes from now on is dropped."""

    @property
    def has_waiting(self) -> bool:
        return bool(self._buffer)

    def next_is_single(self) -> bool:
        """Tell whether a text message by itself is received next, and without waiting."""
        if not self._buffer:
            return False
        message = self._buffer[0][0]
        return message[0] is _TEXT and type(message[1]) in _BYTES

    def begin(self) -> None:
        assert self.on_first is not None
        self.on_first()

    def take(self) -> list[bytes]:
        # The list itself stays: the reader knows it.
        messages = self.messages.copy()
        self.messages.clear()
        self.size = 0
        # Every use takes bytearrays as well as bytes, and copying each would cost more than its check.
        return cast(list[bytes], messages)

    def stop(self) -> None:
        """Drop what has gathered, and gather no more."""
        self.on_first = None
        self.messages.clear()
        self.size = 0

    def close_off(self) -> None:
        """Hand out what has gathered, and the end behind it; take nothing more in."""
        self.hand_out()
        super().feed_data(CLOSED, 0)
        self.is_closed_off = True
        self.stop()

    def hand_out(self) -> None:
        if self.messages:
            self._queue(self.size, self.take())

    def hand_back(self, messages: list[bytes]) -> None:
        self._queue(sum(map(len, messages)), messages)

    def _queue(self, size: int, messages: list[bytes]) -> None:
        super().feed_data(run_of(messages, size), size + _MESSAGE_COST_BYTES * len(messages))

    def stall(self, item: Message) -> None:
        """Queue ``item``, so large for the queue that no frame is parsed before it is received."""
        self.hand_out()
        self.feigned_bytes += self._limit + 1
        super().feed_data(cast(Any, item), self._limit + 1)

    def unstall(self) -> None:
        """An item that stalled was received. There may be another: a mark, and the message it came before."""
        self.feigned_bytes -= self._limit + 1

    @property
    def waiting_bytes(self) -> int:
        """Bytes of messages that wait to be received, with what each costs beside."""
        return max(0, self.size + self._size - self.feigned_bytes)

    def pause(self) -> None:
        """Stop reading the connection."""
        if not self._protocol._reading_paused:
            self._protocol.pause_reading()

    def resume(self) -> None:
        """Let the connection be read again, if there is room."""
        protocol = self._protocol
        if self._stalled_reader is None and self._size < self._limit and protocol._reading_paused:
            protocol.resume_reading()

    # What the reader calls

    def feed_data(self, data: Any, size: int) -> None:
        """Take in a message that came in fragments or compressed, or that is not text."""
        if self.keeps_back:
            self.kept_back = data
            return
        if self.is_closed_off:
            return
        if data[0] is not _TEXT or self.on_first is None:
            self.hand_out()
            super().feed_data(data, size)
            return
        if not self.messages:
            self.begin()
        self.messages.append(data[1])
        self.size += size
        if self.size >= self.run_bytes or len(self.messages) >= MESSAGES_MAX:
            self.hand_out()

    def feed_eof(self) -> None:
        self.hand_out()
        if self.exception() is None:  # aiohttp's would forget it.
            super().feed_eof()

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        self.hand_out()
        super().set_exception(exc, *cause)
