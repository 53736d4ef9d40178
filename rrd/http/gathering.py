"""A WebSocket whose text messages gather before anybody is woken for them.

With one event a message, what aiohttp does for each message (a tuple, a queue, two coroutines) costs several
times what is done with the event itself. Here its frame parser puts the payload of a text message on a
list, and that is all: for some 256 KB of them, or when they have come of age, ``receive`` gives out one
*run*: a message of type TEXT whose data is the list. On small events a receiver that discards runs takes a
third of the processor time of one that discards messages.

Everything else takes aiohttp's own way and keeps its order: whatever is put into the queue has the run of
what came before it put in front. The price is two private corners of aiohttp, ``_handle_frame`` and
``_post_start``; hence the narrow range of its versions in ``pyproject.toml``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, cast

from aiohttp import WSMsgType, web
from aiohttp._websocket.models import WSMessageTextBytes
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

_TEXT = WSMsgType.TEXT
_TEXT_OPCODE = _TEXT.value

_MESSAGES_MAX = 1 << 14
"""Messages in a run, at most: those of junk may be one byte long, and each takes a hundred to hold."""


class GatheringSocket(web.WebSocketResponse[Literal[False]]):
    """Use ``gather`` once it is prepared; before, it is as aiohttp's own with ``decode_text=False``.

    Memory: the run that gathers, two that wait to be received (beyond that the sender is made to wait), and
    what one read of the connection brings.
    """

    def __init__(self, *, run_bytes: int, max_msg_size: int) -> None:
        """``run_bytes``: a run is handed out as soon as it has so many."""
        # The last flush and the summary come between the client's close and ours, hence autoclose.
        # UTF-8 is checked for a whole block at once, hence decode_text.
        super().__init__(autoclose=False, max_msg_size=max_msg_size, decode_text=False)
        self._run_bytes = run_bytes
        self._runs: _Runs | None = None

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        # What aiohttp's does, with a queue and a reader of our own.
        self._ws_protocol = protocol
        self._writer = writer
        self._reset_heartbeat()
        self._runs = _Runs(request.protocol, self._run_bytes)
        self._reader = self._runs
        self._parser = _Reader(self._runs, self._max_msg_size, compress=bool(self._compress))
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(False)

    def gather(self, on_first: Callable[[], None]) -> None:
        """From now on text messages come in runs. ``on_first`` is called when one begins.

        It should see to it that ``hand_out`` is called in time: nothing here knows a clock.
        """
        assert self._runs is not None
        self._runs.on_first = on_first

    def hand_out(self) -> None:
        """Put what has gathered into the queue, to be received in its turn."""
        if self._runs is not None:
            self._runs.hand_out()

    def take_out(self) -> list[bytes]:
        """Return what has gathered, if it is next in turn; put it into the queue otherwise."""
        if self._runs is None:
            return []
        if self._runs.has_waiting:
            self._runs.hand_out()
            return []
        return self._runs.take()


class _Runs(WebSocketDataQueue):
    """aiohttp's queue, and in front of it the run that gathers."""

    def __init__(self, protocol: Any, run_bytes: int) -> None:
        super().__init__(protocol, run_bytes, loop=asyncio.get_running_loop())
        self.on_first: Callable[[], None] | None = None
        """None: text messages are not gathered."""
        self.run_bytes = run_bytes
        self.messages: list[bytes | bytearray] = []
        self.size = 0
        """Bytes in ``messages``."""

    @property
    def has_waiting(self) -> bool:
        return bool(self._buffer)

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

    def hand_out(self) -> None:
        if self.messages:
            size = self.size
            super().feed_data(WSMessageTextBytes(_TEXT, self.take(), ""), size)

    # What the reader calls

    def feed_data(self, data: Any, size: int) -> None:
        """Take in a message that came in fragments or compressed, or that is not text."""
        if data[0] is not _TEXT or self.on_first is None:
            self.hand_out()
            super().feed_data(data, size)
            return
        if not self.messages:
            self.begin()
        self.messages.append(data[1])
        self.size += size
        if self.size >= self.run_bytes:
            self.hand_out()

    def feed_eof(self) -> None:
        self.hand_out()
        super().feed_eof()

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        self.hand_out()
        super().set_exception(exc, *cause)


class _Reader(WebSocketReader):
    """aiohttp's parser of frames, with a short way for what nearly all of them are."""

    def __init__(self, runs: _Runs, max_msg_size: int, *, compress: bool) -> None:
        super().__init__(runs, max_msg_size, compress=compress, decode_text=False)
        self._runs = runs
        self._messages = runs.messages
        self._append = runs.messages.append
        self._run_bytes = runs.run_bytes
        self._in_fragments = False

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        runs = self._runs
        if opcode != _TEXT_OPCODE or not fin or compressed or self._in_fragments or runs.on_first is None:
            if opcode <= WSMsgType.BINARY.value:  # Control frames may come between fragments (RFC 6455, 5.4).
                self._in_fragments = not fin
            super()._handle_frame(fin, opcode, payload, compressed)
            return
        messages = self._messages
        if not messages:
            runs.begin()
        messages.append(payload)
        runs.size = size = runs.size + len(payload)
        if size >= self._run_bytes or len(messages) >= _MESSAGES_MAX:
            runs.hand_out()
