"""A WebSocket whose text messages gather before anybody is woken for them.

With one event a message, what aiohttp does for each message (a tuple, a queue, two coroutines) costs several
times what is done with the event itself. Here its frame parser puts the payload of a text message on a
list, and that is all: for some 256 KB of them, or when they have come of age, ``receive`` gives out one
*run*: a message of type TEXT whose data is the list. On small events a receiver that discards runs takes a
third of the processor time of one that discards messages.

Everything else takes aiohttp's own way and keeps its order: whatever is put into the queue has the run of
what came before it put in front. The price is two private corners of aiohttp, ``_handle_frame`` and
``_post_start``; hence the narrow range of its versions in ``pyproject.toml``.

Writing never ends reading. A pong or a close that can't be sent is dropped. A write to a connection that was
reset makes the event loop close it, with bytes unread: those are read before the descriptor goes. (Linux
keeps what has arrived readable after a reset.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket as sockets
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, cast

from aiohttp import EofStream, WebSocketError, WSCloseCode, WSMessage, WSMsgType, web
from aiohttp._websocket.models import WSMessageTextBytes
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

from rrd.errors import RrdError, WireError
from rrd.http.budget import FREE_BYTES, Hold
from rrd.http.deflate import Inflater
from rrd.http.half_close import half_close
from rrd.http.oversize import HEAD_BYTES_KEPT, beginning_of_oversize

_TEXT = WSMsgType.TEXT
_TEXT_OPCODE = _TEXT.value
_BINARY_OPCODE = WSMsgType.BINARY.value

_MESSAGES_MAX = 1 << 12
"""Messages in a run, at most: those of junk may be one byte long, and each takes a hundred to hold."""

_PONGS_MAX = 64
"""Pongs that wait to be sent, at most; then only the youngest count, as RFC 6455, 5.5.3, permits."""

_READ_BYTES = 256 << 10

_CLOSED = WSMessage(WSMsgType.CLOSED, None, None)

Message = WSMessage | WSMessageTextBytes


class GatheringSocket(web.WebSocketResponse[Literal[False]]):
    """Use ``gather`` once it is prepared; before, it is as aiohttp's own with ``decode_text=False``.

    Memory: the run that gathers, two that wait to be received (beyond that the sender is made to wait), and
    what one read of the connection brings; at its end, what the kernel still holds of it.
    """

    def __init__(
        self, *, run_bytes: int, max_msg_size: int, hold: Hold, inflate_ratio_max: int | None = None
    ) -> None:
        """``run_bytes``: a run is handed out as soon as it has so many. All that waits counts in ``hold``.

        ``inflate_ratio_max``: as ``Inflater``'s ``ratio_max``.
        """
        self._inflate_ratio_max = inflate_ratio_max
        # The last flush and the summary come between the client's close and ours, hence autoclose.
        # aiohttp's answer to a ping raises where it can't be sent, hence autoping.
        # UTF-8 is checked for a whole block at once, hence decode_text.
        super().__init__(autoclose=False, autoping=False, max_msg_size=max_msg_size, decode_text=False)
        self._run_bytes = run_bytes
        self._runs: _Runs | None = None
        self._frames: _Reader | None = None
        self._last: Message | None = None
        self._pongs: deque[bytes] = deque(maxlen=_PONGS_MAX)
        self._answering: asyncio.Task[None] | None = None
        self.hold = hold

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        # What aiohttp's does, with a queue and a reader of our own.
        self._ws_protocol = protocol
        self._writer = writer
        self._reset_heartbeat()
        self._reader = self._runs = _Runs(request.protocol, self._run_bytes)
        self._parser = self._frames = _Reader(
            self._runs,
            self._max_msg_size,
            compress=bool(self._compress),
            transport=request.transport,
            hold=self.hold,
        )
        self._frames.inflate_ratio_max = self._inflate_ratio_max
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(False)
        if request.transport is None:  # It was lost before there was a parser to hear of it.
            self._parser.feed_eof()

    async def next_message(self) -> Message:
        """Return the next message, as ``receive`` does, without writing anything on the way.

        The last one says how the socket ended, again and again.
        CLOSE: the client has closed it; what it sent after that counts for nothing (RFC 6455, 5.5.1).
        CLOSED: the connection has ended. ERROR: ``data`` is the exception for what can't be received.
        Only one may wait here at a time.
        """
        runs, frames = self._runs, self._frames
        assert runs is not None
        assert frames is not None
        frames.taken_bytes = 0
        frames.count()
        while self._last is None:
            try:
                message: Message = await runs.read()
            except EofStream:
                if not frames.read_on():
                    self._last = _CLOSED
                continue
            except Exception as error:  # noqa: BLE001  # whatever the parser raised: told by its caller
                self._last = WSMessage(WSMsgType.ERROR, error, None)
                break
            if message.type is WSMsgType.PING:
                self._answer(message.data)
            elif message.type is WSMsgType.CLOSE:
                self._last = message
            elif message.type is not WSMsgType.PONG:
                data = message.data
                frames.taken_bytes = sum(map(len, data)) if type(data) is list else len(data)
                frames.count()
                return message
        frames.is_over = True
        runs.stop()
        return self._last

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Send a close frame if it can be sent and none was; False if one was.

        Receiving goes on. The connection itself closes when the handler returns.
        """
        if self._closed or self._writer is None:
            return False
        self._set_closed()
        with contextlib.suppress(OSError, RuntimeError):
            await self._writer.close(code, message)
        return True

    async def linger(self, *, timeout_s: float) -> None:
        """Close our side of the connection; read on and discard until the client closes its own.

        A connection that is closed with bytes unread is reset, which may take what was said last along
        (RFC 9112, 9.6).
        """
        runs, frames = self._runs, self._frames
        if runs is None or frames is None:
            return
        frames.is_over = True
        runs.stop()
        half_close(frames.transport)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not frames.has_ended.is_set() and runs.exception() is None:
                    with contextlib.suppress(EofStream, WebSocketError, RrdError):
                        await runs.read()
                await frames.has_ended.wait()

    @property
    def refused_head(self) -> bytes | None:
        """How the message begins, as it was sent, that could not be received: empty if that isn't known.

        None if all could be received so far.
        """
        return self._frames.refused_head if self._frames is not None else None

    def refuse_more(self) -> None:
        """Drop what is unfinished. What is whole can still be taken out."""
        if self._frames is not None and self.hold.failure is not None:
            self._frames.give_up(self.hold.failure)

    def hang_up(self) -> None:
        """End the connection at once. What has arrived can still be received."""
        if self._frames is not None and self._frames.transport is not None:
            self._frames.transport.abort()

    def _answer(self, ping: bytes) -> None:
        # By a task: a client that doesn't read its pongs must not keep its events from being read.
        self._pongs.append(bytes(ping))
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._send_pongs())

    async def _send_pongs(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # The client is gone, or we have closed.
            while self._pongs:
                await self.pong(self._pongs.popleft())
        self._pongs.clear()

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

    def hand_back(self, messages: list[bytes]) -> None:
        """Put what ``take_out`` returned into the queue, to be received in its turn; nothing, too."""
        if self._runs is not None:
            self._runs.hand_back(messages)

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
        self.keeps_back = False
        """The next message is not to be queued: ``kept_back`` is where it goes."""
        self.kept_back: Message | None = None

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

    def stop(self) -> None:
        """Drop what has gathered, and gather no more."""
        self.on_first = None
        self.messages.clear()
        self.size = 0

    def hand_out(self) -> None:
        if self.messages:
            size = self.size
            super().feed_data(WSMessageTextBytes(_TEXT, self.take(), ""), size)

    def hand_back(self, messages: list[bytes]) -> None:
        size = sum(map(len, messages))
        super().feed_data(WSMessageTextBytes(_TEXT, cast(Any, messages), ""), size)

    # What the reader calls

    def feed_data(self, data: Any, size: int) -> None:
        """Take in a message that came in fragments or compressed, or that is not text."""
        if self.keeps_back:
            self.kept_back = data
            return
        if data[0] is not _TEXT or self.on_first is None:
            self.hand_out()
            super().feed_data(data, size)
            return
        if not self.messages:
            self.begin()
        self.messages.append(data[1])
        self.size += size
        if self.size >= self.run_bytes or len(self.messages) >= _MESSAGES_MAX:
            self.hand_out()

    def feed_eof(self) -> None:
        self.hand_out()
        if self.exception() is None:  # aiohttp's would forget it.
            super().feed_eof()

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        self.hand_out()
        super().set_exception(exc, *cause)


class _Reader(WebSocketReader):
    """aiohttp's parser of frames, with a short way for what nearly all of them are.

    It inflates by itself: aiohttp's fails on last blocks, and tells a damaged message from nothing else.
    """

    def __init__(
        self,
        runs: _Runs,
        max_msg_size: int,
        *,
        compress: bool,
        transport: asyncio.Transport | None,
        hold: Hold,
    ) -> None:
        self._runs = runs
        self._message_bytes_max = max_msg_size
        self._inflates = compress
        self._begin_anew()
        self.transport = transport
        self.has_ended = asyncio.Event()
        """The connection has ended, or the client's side of it."""
        self.is_over = False
        """Nothing more is received."""
        self._messages = runs.messages
        self._append = runs.messages.append
        self._run_bytes = runs.run_bytes
        self._in_fragments = False
        self._inflater: Inflater | None = None
        self.inflate_ratio_max: int | None = None
        self._unread: deque[bytes] = deque()
        self._fragment_head = b""
        """How the message begins whose fragments are coming in."""
        self.refused_head: bytes | None = None
        self._hold = hold
        self._under_way_bytes = 0
        """Bytes that came in since the last frame ended: of its successor, about."""
        self._fragment_bytes = 0
        """Of frames that have ended, and whose message has not."""
        self._fragments_ended = 0
        self.taken_bytes = 0
        """Of the message that was received last, and is being taken in."""
        self._is_given_up = False

    def feed_data(self, data: bytes | bytearray | memoryview) -> tuple[bool, bytes]:
        if self._is_given_up:
            return super().feed_data(b"")
        runs = self._runs
        whole_bytes, fragments_ended = runs.size + runs._size, self._fragments_ended
        fragment_bytes = self._fragment_bytes
        result: tuple[bool, bytes] = super().feed_data(data)
        came = len(data)
        under_way_bytes = self._under_way_bytes + came
        ended_bytes = runs.size + runs._size - whole_bytes
        if ended_bytes or fragments_ended != self._fragments_ended:
            # A frame has ended in this read, so what is under way has come in it. Only where messages wait,
            # older bytes may lie here unparsed.
            bytes_max = came if came and runs._stalled_reader is None else max(came, self._under_way_bytes)
            ended_bytes += max(0, self._fragment_bytes - fragment_bytes)
            under_way_bytes = min(max(0, under_way_bytes - ended_bytes), bytes_max)
        self._under_way_bytes = under_way_bytes
        self.count(received=came)
        if result[0] and self.refused_head is None:  # It has failed just now.
            self.refused_head = self._fragment_head or beginning_of_oversize(
                bytes(data), message_bytes_max=self._message_bytes_max
            )
        return result

    def count(self, *, received: int = 0) -> None:
        """Count what waits here, in ``hold``; ``received`` bytes came in just now."""
        runs = self._runs
        waiting_bytes = runs.size + runs._size + self.taken_bytes
        size = self._under_way_bytes + self._fragment_bytes + waiting_bytes
        if size > FREE_BYTES or self._hold.counted_bytes:
            self._hold.set_incoming(size, received=received)

    def give_up(self, failure: RrdError) -> None:
        """Take in nothing more. What is whole can still be received; then comes ``failure``."""
        self._is_given_up = True
        self._under_way_bytes = self._fragment_bytes = 0
        self._runs.set_exception(failure)
        self._begin_anew()  # What aiohttp keeps of frames and fragments goes.

    def _begin_anew(self) -> None:
        super().__init__(self._runs, self._message_bytes_max, compress=self._inflates, decode_text=False)

    def feed_eof(self) -> None:
        """Called when the client has closed its side, and when the connection is lost.

        Its descriptor is still open then.
        """
        if not self.is_over and not self.has_ended.is_set() and self.transport is not None:
            self._unread.extend(_unread(self.transport))
        self.has_ended.set()
        super().feed_eof()

    def read_on(self) -> bool:
        """After the end: make something to be received of what was left; False if there is nothing."""
        runs = self._runs
        runs.hand_out()
        while self._unread and not runs.has_waiting and runs.exception() is None:
            self.feed_data(self._unread.popleft())
            if not self._unread:
                runs.hand_out()
        return runs.has_waiting or runs.exception() is not None

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        runs = self._runs
        if opcode > _BINARY_OPCODE:  # Control frames may come between fragments (RFC 6455, 5.4).
            super()._handle_frame(fin, opcode, payload, 0)
            return
        if not fin or self._in_fragments:
            if not self._in_fragments:
                self._fragment_head = bytes(payload[:HEAD_BYTES_KEPT])
            self._in_fragments = not fin
            self._fragments_ended += 1
            self._fragment_bytes = 0 if fin else self._fragment_bytes + len(payload)
            if compressed:
                self._handle_compressed_fragment(fin, opcode, payload)
            else:
                super()._handle_frame(fin, opcode, payload, 0)
            if fin:
                self._fragment_head = b""
            return
        if compressed and opcode:  # A continuation of nothing is for aiohttp to refuse.
            payload = self._inflate(payload)
        if opcode != _TEXT_OPCODE or runs.on_first is None:
            super()._handle_frame(fin, opcode, payload, 0)
            return
        messages = self._messages
        if not messages:
            runs.begin()
        messages.append(payload)
        runs.size = size = runs.size + len(payload)
        if size >= self._run_bytes or len(messages) >= _MESSAGES_MAX:
            runs.hand_out()

    def _handle_compressed_fragment(self, fin: bool, opcode: int, payload: bytes | bytearray) -> None:
        # aiohttp puts fragments together; the whole is taken from it before it is queued.
        runs = self._runs
        runs.keeps_back = True
        try:
            super()._handle_frame(fin, opcode, payload, 0)
        finally:
            runs.keeps_back = False
        if (message := runs.kept_back) is not None:
            runs.kept_back = None
            plain = self._inflate(message.data)
            runs.feed_data(type(message)(message.type, plain, ""), len(plain))

    def _inflate(self, message: bytes | bytearray) -> bytes:
        if self._inflater is None:
            self._inflater = Inflater(
                message_bytes_max=self._message_bytes_max, ratio_max=self.inflate_ratio_max
            )
        try:
            return self._inflater.inflate(message)
        except WireError:
            self.refused_head = bytes(message[:HEAD_BYTES_KEPT])
            raise


def _unread(transport: asyncio.Transport) -> list[bytes]:
    """Return what has arrived on a connection and was not read, at most what the kernel's buffer holds."""
    handle = transport.get_extra_info("socket")
    chunks: list[bytes] = []
    if transport.get_extra_info("ssl_object") is not None:
        return chunks  # The kernel holds what only the transport could decrypt.
    with contextlib.suppress(OSError):
        left = handle.getsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF)
        while left > 0 and (chunk := os.read(handle.fileno(), _READ_BYTES)):
            chunks.append(chunk)
            left -= len(chunk)
    return chunks
