"""A WebSocket whose text messages gather before their receiver is woken for them.

With one event a message, what aiohttp does for each message (a tuple, a queue, two coroutines) costs several
times what is done with the event itself. Here its frame parser (``frames``) puts the payload of a text
message on a list, and that is all: for some 256 KB of them, or when they have come of age, ``receive`` gives
out one *run*: a message of type TEXT whose data is the list. On small events a receiver that discards runs
takes a third of the processor time of one that discards messages.

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
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Literal

from aiohttp import EofStream, WebSocketError, WSCloseCode, WSMessage, WSMsgType, hdrs, web
from aiohttp._websocket.writer import WebSocketWriter
from aiohttp.abc import AbstractStreamWriter

from rrd.errors import RrdError, WireError, without_frames
from rrd.http.beat import Beat, Pace
from rrd.http.connection import Connection
from rrd.http.decoding import Turn, in_thread
from rrd.http.deflate import Unfinished
from rrd.http.deflate_offer import Agreed, agree
from rrd.http.frames import FrameReader
from rrd.http.half_close import half_close
from rrd.http.hold import Reservation
from rrd.http.runs import CLOSED, MARK, MESSAGES_MAX, Message, Runs, run_of, size_of
from rrd.http.streams import Streams
from rrd.http.upgrade import switching

_PONGS_MAX = 64
"""Pongs that wait to be sent, at most; then only the youngest count, as RFC 6455, 5.5.3, permits."""


class GatheringSocket(web.WebSocketResponse[Literal[False]]):
    """Use ``gather`` once it is prepared; before, it is as aiohttp's own with ``decode_text=False``.

    Memory: the run that gathers, two that wait to be received (beyond that the sender is made to wait), and
    what one read of the connection brings; at its end, what the kernel still holds of it.
    """

    __slots__ = (  # With aiohttp's there would be more than share their keys, and each dict would be large.
        *("_agreed", "_answering", "_frames", "_inflate_ratio_max", "_last", "_pongs", "_run_bytes", "_runs"),
        *("_streams", "_threads", "hold", "message_bytes_max", "turn"),
    )

    def __init__(
        self,
        *,
        run_bytes: int,
        max_msg_size: int,
        hold: Reservation,
        threads: Executor,
        inflate_ratio_max: int | None = None,
        streams: Streams | None = None,
    ) -> None:
        """``run_bytes``: a run is handed out as soon as it has so many. All that waits counts in ``hold``.

        ``threads``: where what takes long to inflate is inflated. ``inflate_ratio_max`` and ``streams``: as
        ``Inflater``'s.
        """
        self._threads = threads
        self._inflate_ratio_max = inflate_ratio_max
        self._streams = streams
        # The last flush and the summary come between the client's close and ours, hence autoclose.
        # aiohttp's answer to a ping raises where it can't be sent, hence autoping.
        # UTF-8 is checked for a whole block at once, hence decode_text. permessage-deflate is agreed on here.
        super().__init__(
            autoclose=False, autoping=False, max_msg_size=max_msg_size, decode_text=False, compress=False
        )
        self._agreed: Agreed | None = None
        self.message_bytes_max = max_msg_size
        self._run_bytes = run_bytes
        self._runs: Runs | None = None
        self._frames: FrameReader | None = None
        self._last: Message | None = None
        self._pongs: deque[bytes] | None = None
        self._answering: asyncio.Task[None] | None = None
        self.hold = hold
        self.turn = Turn()
        """That of the task which receives."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Upgrade a connection whose request ``check_upgrade`` has passed.

        Raises ``ConnectionResetError`` if the connection is gone.
        """
        if self._payload_writer is None:
            transport = request.protocol.transport
            if transport is None:
                raise ConnectionResetError("the connection is gone")
            self._agreed = agree(request.headers.getall(hdrs.SEC_WEBSOCKET_EXTENSIONS, ()))
            extensions = None if self._agreed is None else self._agreed.answer
            # Not as aiohttp does it, which checks all once more: thousands may come at once.
            transport.write(switching(request, extensions=extensions))
            self.force_close()
            self._req, self._payload_writer, self._loop = request, request._payload_writer, request._loop
            # What the server says isn't compressed: a compressor would hold 90 to 260 KiB.
            self._post_start(request, None, WebSocketWriter(request.protocol, transport, compress=0))
        return self._payload_writer

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        # What aiohttp's does, with a queue and a reader of our own.
        self._ws_protocol = protocol
        self._writer = writer
        self._reset_heartbeat()
        self._reader = self._runs = Runs(request.protocol, self._run_bytes)
        self._parser = self._frames = FrameReader(
            self._runs,
            self._max_msg_size,
            compress=self._agreed is not None,
            transport=request.transport,
            hold=self.hold,
        )
        if self._agreed is not None:
            self._frames.window_bytes = self._agreed.window_bytes
        self._frames.inflate_ratio_max = self._inflate_ratio_max
        self._frames.streams = self._streams
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(False)

    async def next_message(self) -> Message:
        """Return the next message, as ``receive`` does, without writing anything on the way.

        The last one says how the socket ended, again and again.
        CLOSE: the client has closed it; what it sent after that counts for nothing (RFC 6455, 5.5.1).
        CLOSED: the connection has ended, or ``stop_receiving`` was called. ERROR: ``data`` is the exception
        for what can't be received.
        Only one may wait here at a time.
        """
        runs, frames = self._runs, self._frames
        assert runs is not None
        assert frames is not None
        while self._last is None:
            try:
                message = await self._take_next(runs, frames)
            except EofStream:
                if not frames.read_on():
                    self._last = CLOSED
                continue
            except Exception as error:  # noqa: BLE001  # whatever the parser raised: told by its caller
                if isinstance(error, WireError | WebSocketError):  # Of others the log tells where.
                    without_frames(error)
                self._last = WSMessage(WSMsgType.ERROR, error, None)
                break
            kind = message.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                if kind is WSMsgType.TEXT and runs.on_first is not None and runs.next_is_single():
                    message = await self._join(message, runs)
                frames.set_taken(size_of(message))
                return message
            if kind is WSMsgType.PING:
                self._answer(message.data)
            elif kind is WSMsgType.CLOSE or kind is WSMsgType.CLOSED:
                self._last = message
        frames.set_taken(0)
        frames.stop()
        runs.stop()
        return self._last

    async def _take_next(self, runs: Runs, frames: FrameReader) -> Message:
        """Return what is next in the queue. Others have their turn, even if there is always more."""
        if runs.has_waiting:
            if self.turn.is_over():
                await self.turn.end()
            message: Message = await runs.read()
        else:
            frames.set_taken(0)
            message = await runs.read()
            self.turn.begin()
        if message is MARK:
            runs.unstall()
        elif type(message.data) is Unfinished:
            runs.unstall()
            message = await self._finish(message, frames)
            self.turn.begin()
        return message

    async def _join(self, message: Message, runs: Runs) -> Message:
        """Return a run of ``message`` and those behind it that came before text gathered: a page begins with
        many, while its recording is opened.
        """
        messages = message.data if type(message.data) is list else [message.data]
        size = size_of(message)
        while size < self._run_bytes and len(messages) < MESSAGES_MAX and runs.next_is_single():
            data = (await runs.read()).data  # It doesn't wait.
            messages.append(data)
            size += len(data)
        return run_of(messages, size)

    async def _finish(self, message: Message, frames: FrameReader) -> Message:
        """Inflate a message in a thread, and let what comes behind it be parsed.

        All that a message takes beyond ``QUICK_BYTES`` is taken here, step by step, and ``frames`` counts it.
        """
        work: Unfinished = message.data
        try:
            while (plain := await in_thread(self._threads, work.step)) is None:
                frames.count_held()
                await self.hold.room()
                if work.is_given_up and self.hold.failure is not None:
                    raise self.hold.failure
        except BaseException as error:
            work.give_up()  # The error knows this frame, and may be kept.
            if isinstance(error, WireError):
                frames.refused_head = frames.unfinished_head
            raise
        frames.go_on()
        return type(message)(message.type, plain, "")

    def say_now(self, text: bytes) -> bool:
        """Send a message of ``text`` at once. False, and nothing is sent, if it would have to wait, or the
        socket is being closed.
        """
        writer = self._writer
        if writer is None or self._closed or writer.protocol._paused or writer.transport.is_closing():
            return False
        with contextlib.suppress(OSError, RuntimeError):  # The client is gone.
            writer._write_websocket_frame(text, WSMsgType.TEXT, 0)
        return True

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
        frames.stop()
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

    def stop_receiving(self) -> None:
        """Drop what comes from now on, and the message whose frames are coming in. What came before whole
        can still be received; then ``next_message`` says that the socket is closed.
        """
        if self._runs is not None and self._frames is not None and not self._frames.is_over:
            self.read_left()
            self._frames.is_over = True
            self._runs.close_off()
            self.leave_beat()

    def hang_up(self) -> None:
        """End the connection at once. What has arrived can still be received."""
        if self._frames is not None and self._frames.transport is not None:
            self._frames.transport.abort()

    def _answer(self, ping: bytes) -> None:
        # By a task: a client that doesn't read its pongs must not keep its events from being read.
        if self._pongs is None:  # Browsers never ping.
            self._pongs = deque(maxlen=_PONGS_MAX)
        self._pongs.append(bytes(ping))
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._send_pongs(self._pongs))

    async def _send_pongs(self, pongs: deque[bytes]) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # The client is gone, or we have closed.
            while pongs:
                await self.pong(pongs.popleft())
        pongs.clear()

    def gather(self, on_first: Callable[[], None]) -> None:
        """From now on text messages come in runs. ``on_first`` is called when one begins.

        It should see to it that ``hand_out`` is called in time: nothing here knows a clock.
        """
        assert self._runs is not None
        self._runs.on_first = on_first

    def follow(self, beat: Beat, is_urgent: Callable[[], bool]) -> None:
        """From now on the socket may be read on a beat, while not ``is_urgent``."""
        frames = self._frames
        if frames is None or frames.is_over or frames.transport is None or self._runs is None:
            return
        connection = self._runs._protocol
        # What TLS has encrypted only the transport can read.
        if isinstance(connection, Connection) and frames.transport.get_extra_info("ssl_object") is None:
            handle = frames.transport.get_extra_info("socket").fileno()
            frames.pace = Pace(beat, connection, handle, is_urgent)
            connection.set_pace(frames.pace)

    @property
    def came_since(self) -> float:
        """After when that came which was read last, monotonic seconds; 0: it was read at once."""
        pace = None if self._frames is None else self._frames.pace
        return 0.0 if pace is None else pace.came_since

    def leave_beat(self) -> None:
        """Have what comes read at once."""
        if self._frames is not None and self._frames.pace is not None:
            self._frames.pace.leave()

    def read_left(self) -> None:
        """Take in what waits in the kernel for the next beat."""
        if self._frames is not None and self._frames.pace is not None:
            self._frames.pace.read_left()

    def hand_out(self) -> None:
        """Put what has gathered into the queue, to be received in its turn."""
        if self._runs is not None:
            self._runs.hand_out()

    def hand_back(self, messages: list[bytes]) -> None:
        """Put what ``take_out`` returned into the queue, to be received in its turn; nothing, too."""
        if self._runs is not None:
            self._runs.hand_back(messages)

    def count_held(self) -> None:
        """Count what waits here in ``hold``: to be called when something was taken out."""
        if self._frames is not None:
            self._frames.count_held()

    def take_out(self) -> list[bytes]:
        """Return what has gathered, if it is next in turn; put it into the queue otherwise."""
        if self._runs is None:
            return []
        if self._runs.has_waiting:
            self._runs.hand_out()
            return []
        return self._runs.take()
