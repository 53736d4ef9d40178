"""Frames of a WebSocket (RFC 6455, 5) → runs of text messages, and other messages one by one.

aiohttp's parser and queue, with a short way for what nearly all frames are (``gathering`` says why).

No turn of the event loop takes long, however small the frames are or however dense: among fragments a mark is
queued every ``_FRAGMENTS_MAX``. While a mark waits, or two runs (``runs``), no frame is parsed. A compressed
message that isn't quick to inflate is queued as it is, and its receiver inflates it in a thread; until then
nothing behind it is parsed, since that needs its window.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket as sockets
from typing import Any, cast

from aiohttp import WSMessage, WSMsgType
from aiohttp._websocket.models import WSMessageTextBytes
from aiohttp._websocket.reader import WebSocketReader

from rrd.errors import RrdError, WireError
from rrd.http.beat import Pace
from rrd.http.deflate import MessageInflater, Unfinished
from rrd.http.hold import FREE_BYTES, Reservation
from rrd.http.once import Once
from rrd.http.oversize import HEAD_BYTES_KEPT, beginning_of_oversize
from rrd.http.runs import MARK, MESSAGES_MAX, Runs
from rrd.http.streams import Streams
from rrd.http.windows import WINDOW_BYTES

_TEXT_OPCODE = WSMsgType.TEXT.value
_BINARY_OPCODE = WSMsgType.BINARY.value

_FRAGMENTS_MAX = 1 << 11
"""Fragments of messages that are parsed in one go."""

_LAST_BLOCK_COST = 32
"""A message whose compression ends costs as much as so many fragments: a stream begins."""

_ALONE_COST = 2
"""So does one that stands by itself, if it is small. A large one is counted by its bytes."""

_COMPRESSED_BYTES_MAX = 64 << 10
"""Compressed bytes of messages that are inflated in one go: blocks with codes of their own and nothing in
them take 0.1 µs a byte."""

_READ_BYTES = 256 << 10


class FrameReader(WebSocketReader):
    """aiohttp's parser of frames, with a short way for what nearly all of them are.

    It inflates by itself: aiohttp's fails on last blocks, and tells a damaged message from nothing else.
    """

    def __init__(
        self,
        runs: Runs,
        max_msg_size: int,
        *,
        compress: bool,
        transport: asyncio.Transport | None,
        hold: Reservation,
    ) -> None:
        self._runs = runs
        self._message_bytes_max = max_msg_size
        self._inflates = compress
        self._begin_anew()
        self._hold = hold
        self._under_way_bytes = 0
        """Bytes that came in since the last frame ended: of its successor, about."""
        self._fragment_bytes = 0
        """Of frames that have ended, and whose message has not."""
        self._fragments_ended = 0
        self.taken_bytes = 0
        """Of the message that was received last, and is being taken in."""
        self.transport = transport
        self.has_ended = Once()
        """The connection has ended, or the client's side of it."""
        self.is_over = False
        """Nothing more is received."""
        self.pace: Pace | None = None
        """Its connection's, if that may be read on a beat."""
        self._messages = runs.messages
        self._append = runs.messages.append
        self._run_bytes = runs.run_bytes
        self._in_fragments = False
        self._inflater: MessageInflater | None = None
        self.inflate_ratio_max: int | None = None
        self.streams: Streams | None = None
        self.window_bytes = WINDOW_BYTES
        self._fragments = 0
        """Since the last mark."""
        self._mark_at_bytes = _COMPRESSED_BYTES_MAX
        """How many compressed bytes have come, all in all, when the next mark is due."""
        self._unfinished: Unfinished | None = None
        """A message that is being inflated: nothing behind it may be parsed."""
        self._behind: list[bytes] = []
        """What has come meanwhile: one read, before reading paused."""
        self.unfinished_head = b""
        """How that message begins, as it was sent."""
        self._unread: list[bytes] = []
        self._fragment_head = b""
        """How the message begins whose fragments are coming in."""
        self.refused_head: bytes | None = None

    def feed_data(self, data: bytes | bytearray | memoryview) -> tuple[bool, bytes]:
        if self.is_over:
            return False, b""
        if self._unfinished is not None:
            if data:
                self._behind.append(bytes(data))
                self._under_way_bytes += len(data)
                self._runs.pause()
                self.count_held(received=len(data))
            return False, b""
        runs = self._runs
        whole_bytes, fragments_ended = runs.waiting_bytes, self._fragments_ended
        fragment_bytes = self._fragment_bytes
        result: tuple[bool, bytes] = super().feed_data(data)
        came = len(data)
        under_way_bytes = self._under_way_bytes + came
        ended_bytes = runs.waiting_bytes - whole_bytes
        if self._unfinished is not None:
            ended_bytes += self._unfinished.payload_bytes
        if ended_bytes or fragments_ended != self._fragments_ended:
            # A frame has ended in this read, so what is under way has come in it. Only where messages wait,
            # older bytes may lie here unparsed.
            bytes_max = came if came and runs._stalled_reader is None else max(came, self._under_way_bytes)
            ended_bytes += max(0, self._fragment_bytes - fragment_bytes)
            under_way_bytes = min(max(0, under_way_bytes - ended_bytes), bytes_max)
        self._under_way_bytes = under_way_bytes
        self.count_held(received=came)
        if result[0] and self.refused_head is None:  # It has failed just now.
            self.refused_head = self._fragment_head or beginning_of_oversize(
                bytes(data), message_bytes_max=self._message_bytes_max
            )
        return result

    @property
    def is_calm(self) -> bool:
        """Nothing large is under way, nor the end: what comes next is not awaited."""
        under_way_bytes = self._under_way_bytes + self._fragment_bytes
        return not self.is_over and self._unfinished is None and under_way_bytes <= FREE_BYTES

    def count_held(self, *, received: int = 0) -> None:
        """Count what waits here, in ``hold``; ``received`` bytes came in just now."""
        size = self._under_way_bytes + self._fragment_bytes + self._runs.waiting_bytes + self.taken_bytes
        if self._unfinished is not None:
            size += self._unfinished.held_bytes
        if size > FREE_BYTES or self._hold.counted_bytes:
            self._hold.set_incoming(size, received=received)

    def set_taken(self, size: int) -> None:
        """The message that is being taken in has ``size`` bytes.

        What small ones held is told with the last one that waits: the queue holds a run or two.
        """
        is_small = max(size, self.taken_bytes) <= FREE_BYTES
        self.taken_bytes = size
        if not is_small or not (size or self._runs.has_waiting):
            self.count_held()

    def give_up(self, failure: RrdError) -> None:
        """Take in nothing more. What is whole can still be received; then comes ``failure``."""
        self._under_way_bytes = self._fragment_bytes = 0
        if self._unfinished is not None:
            self._unfinished.give_up()
        self._runs.set_exception(failure)
        self._begin_anew()  # What aiohttp keeps of frames and fragments goes.
        super().feed_data(b"")  # Nothing stalls any more, so that reading can go on, and be thrown away.
        self.stop()

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

    def stop(self) -> None:
        """Receive nothing more: what comes is thrown away."""
        self.is_over = True
        self._unfinished = None
        self._behind.clear()
        self._runs.resume()
        if self.pace is not None:
            self.pace.leave()
            self.pace = None  # It knows who asks for what is received here: they would keep each other.

    def go_on(self) -> None:
        """The message that was being inflated is whole: parse what came behind it."""
        self._unfinished = None
        self.unfinished_head = b""
        behind, self._behind = b"".join(self._behind), []
        self._under_way_bytes = max(0, self._under_way_bytes - len(behind))
        # Nothing given, it parses what it has kept itself.
        self.feed_data(behind)
        self._runs.resume()

    def read_on(self) -> bool:
        """After the end: make something to be received of what was left; False if there is nothing."""
        runs = self._runs
        runs.hand_out()
        while self._unread and not runs.has_waiting and runs.exception() is None:
            self.feed_data(self._unread.pop(0))
            if not self._unread:
                runs.hand_out()
        return runs.has_waiting or runs.exception() is not None

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        runs = self._runs
        if opcode == _TEXT_OPCODE and fin and not (compressed or self._in_fragments or runs.on_first is None):
            self._gather(runs, payload)  # Nearly all frames are so.
            return
        if opcode > _BINARY_OPCODE:  # Control frames may come between fragments (RFC 6455, 5.4).
            super()._handle_frame(fin, opcode, payload, 0)
            return
        if not fin or self._in_fragments:
            if not self._in_fragments:
                self._fragment_head = bytes(payload[:HEAD_BYTES_KEPT])
            self._in_fragments = not fin
            self._fragments_ended += 1
            self._fragment_bytes = 0 if fin else self._fragment_bytes + len(payload)
            self._count(1)
            if compressed:
                self._handle_compressed_fragment(fin, opcode, payload)
            else:
                super()._handle_frame(fin, opcode, payload, 0)
            if fin:
                self._fragment_head = b""
            return
        if compressed and opcode:  # A continuation of nothing is for aiohttp to refuse.
            plain = self._inflate(payload)
            if type(plain) is Unfinished:
                self._put_off(opcode, plain)
                return
            payload = cast(bytes, plain)
        if opcode != _TEXT_OPCODE or runs.on_first is None:
            super()._handle_frame(fin, opcode, payload, 0)
            return
        self._gather(runs, payload)

    def _gather(self, runs: Runs, payload: bytes | bytearray) -> None:
        messages = self._messages
        if not messages:
            runs.begin()
        messages.append(payload)
        runs.size = size = runs.size + len(payload)
        if size >= self._run_bytes or len(messages) >= MESSAGES_MAX:
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
            if type(plain) is Unfinished:
                self._put_off(message.type.value, plain)
            else:
                plain = cast(bytes, plain)
                runs.feed_data(type(message)(message.type, plain, ""), len(plain))

    def _put_off(self, opcode: int, work: Unfinished) -> None:
        self._unfinished = work
        kind = WSMessageTextBytes if opcode == _TEXT_OPCODE else WSMessage
        self._runs.stall(kind(WSMsgType(opcode), cast(Any, work), ""))

    def _count(self, cost: int) -> None:
        self._fragments += cost
        if self._fragments >= _FRAGMENTS_MAX:
            self._fragments = 0
            self._runs.stall(MARK)

    def _inflate(self, message: bytes | bytearray) -> bytes | Unfinished:
        if self._inflater is None:
            self._inflater = MessageInflater(
                message_bytes_max=self._message_bytes_max,
                ratio_max=self.inflate_ratio_max,
                streams=self.streams,
                window_bytes=self.window_bytes,
            )
        inflater = self._inflater
        if inflater.has_last_blocks:
            self._count(_LAST_BLOCK_COST)
        elif not self.window_bytes:
            self._count(_ALONE_COST)
        if inflater.received_bytes >= self._mark_at_bytes:
            self._mark_at_bytes = inflater.received_bytes + _COMPRESSED_BYTES_MAX
            self._count(_FRAGMENTS_MAX)
        try:
            plain = inflater.inflate(message)
        except WireError:
            self.refused_head = bytes(message[:HEAD_BYTES_KEPT])
            raise
        if type(plain) is Unfinished:
            self.unfinished_head = bytes(message[:HEAD_BYTES_KEPT])
        return plain


def _unread(transport: asyncio.Transport) -> list[bytes]:
    """Return what has arrived on a connection and was not read, at most twice what there is room for."""
    handle = transport.get_extra_info("socket")
    chunks: list[bytes] = []
    if transport.get_extra_info("ssl_object") is not None:
        return chunks  # The kernel holds what only the transport could decrypt.
    with contextlib.suppress(OSError):
        # Where there is room for a byte, it takes a packet; and the room may have been larger before.
        left = 2 * handle.getsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF)
        while left > 0 and (chunk := os.read(handle.fileno(), _READ_BYTES)):
            chunks.append(chunk)
            left -= len(chunk)
    return chunks
