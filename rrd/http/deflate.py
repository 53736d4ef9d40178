"""Inflates the messages of a socket that agreed on permessage-deflate (RFC 7692).

A message is a run of deflate blocks that goes on with the window of the messages before it. Most senders end
it with an empty block, whose last four bytes stay off the wire (7.2.1). One that can't do so ends it with a
block that says it is the last (BFINAL, 7.2.3.4). There the library's stream ends as well, so what follows is
given to a new one, which knows the window of the old.

Two libraries inflate: zlib what is small, which most events are (0.6 µs), and ISA-L what is large, for which
it takes half as long. A socket has a stream of one of them, and only while it is in use: ``streams`` says
when it goes. Each message ends on a boundary of bytes and blocks (7.2.1), so a new stream of either can go on
from the window alone (``windows``).

A kilobyte may inflate to a megabyte, so what isn't quick is left to the caller, window by window
(``Unfinished``), and may be done in a thread.
"""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Iterator
from typing import Protocol, cast

from isal import isal_zlib

from rrd.errors import BrokenEncoding, RrdError, TooLarge, without_frames
from rrd.http.streams import STREAM_BYTES, ZLIB_STREAM_BYTES, Inflating, Streams
from rrd.http.windows import WINDOW_BYTES, KeptWindow
from rrd.wire.inflate import ISAL_ERRORS
from rrd.wire.inflate import WINDOW_BYTES as PIECE_BYTES
from rrd.wire.layers import RATIO_FREE_BYTES
from rrd.wire.turns import QUICK_BYTES, WINDOW_COST_BYTES

LARGE_BYTES = 1 << 10
"""From so many compressed bytes on ISA-L is faster than zlib, the stream's begin counted in: 3.8 µs both at
400, 9 against 12 at 2,300, half at 10,000."""

_BITS_MIN = 9
"""zlib's least window. Some compress with it where 8 bits were agreed on."""

_TRAILER = b"\x00\x00\xff\xff"
"""What a sender leaves off the end of each message (RFC 7692, 7.2.1). Some leave it there. No message without
it ends in these bytes: its last one begins the empty block, and so has a zero bit."""

_ENDS = {b"", _TRAILER, b"\0" + _TRAILER}
"""What may stand behind the last block of a message and say nothing: an octet that pads it (7.2.3.4), and the
trailer added here."""

_LAST_BLOCK = b"\x03\x00"
"""An empty block that says it is the last (RFC 1951, 3.2.6): a stream between two blocks ends with it and
gives nothing out; one inside a block doesn't."""

_STREAMS_MAX = 1024
"""Last blocks in one message, at most: an empty one takes two bytes on the wire, and a new stream here."""

_SLICE_BYTES_MIN = 64
_SLICE_BYTES_MAX = 64 << 10
"""A stream that ends copies what was given to it and comes after its end. Slices that grow from the lower to
the upper bound keep many short streams in one message from costing its size squared."""


_STEP_BYTES = 1 << 20
"""What a step adds counts once the event loop has its turn, and each socket may have a step under way."""


class Stream(Protocol):
    """A library's: zlib's ``decompressobj`` or ISA-L's."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes | bytearray, max_length: int, /) -> bytes: ...


class Unfinished:
    """A message that is being inflated. The next one has to wait: it needs the window this one leaves."""

    def __init__(self, windows: Iterator[bytes], *, begin: bytes, payload_bytes: int) -> None:
        """``begin`` is inflated already. ``payload_bytes``: of the compressed message, which is held, too."""
        self._windows = windows
        self._parts = [begin]
        self.payload_bytes = payload_bytes
        self.held_bytes = STREAM_BYTES + payload_bytes + len(begin)
        """The stream, the compressed message, and what is inflated of it so far."""
        self.is_given_up = False

    def give_up(self) -> None:
        """Let go what is inflated. A step under way in another thread ends with the window it is at."""
        self.is_given_up = True  # First: a step that finds nothing to join has to know why.
        self._parts.clear()

    def step(self) -> bytes | None:
        """Inflate some ``_STEP_BYTES``. Return the whole message once there is no more; None before.

        None, too, once it is given up. Raises ``BrokenEncoding`` and ``TooLarge``.
        """
        left_bytes = _STEP_BYTES
        while left_bytes > 0 and not self.is_given_up:
            try:
                window = next(self._windows, None)
            except RrdError as error:
                # Whoever keeps the error must not keep the message.
                without_frames(error)
                self._parts.clear()
                self._windows = iter(())
                raise
            if window is None:
                message = b"".join(self._parts)
                self._parts.clear()
                return None if self.is_given_up else message
            self._parts.append(window)
            self.held_bytes += len(window)
            left_bytes -= len(window) + WINDOW_COST_BYTES
        if self.is_given_up:
            self._parts.clear()
        return None


class MessageInflater:
    """One direction of one socket. Unusable once it has raised. One message at a time."""

    def __init__(
        self,
        *,
        message_bytes_max: int,
        ratio_max: int | None = None,
        streams: Streams | None = None,
        window_bytes: int = WINDOW_BYTES,
        large_bytes: int = LARGE_BYTES,
    ) -> None:
        """``message_bytes_max``: of a message, after inflation.

        ``ratio_max``: inflated bytes for each received one, over all messages, ``RATIO_FREE_BYTES`` free.
        ``streams``: shared with other sockets; None: the stream stays open.
        ``window_bytes``: how far back a message may refer, as was agreed on; 0: not beyond its own begin.
        ``large_bytes``: what has as many compressed is inflated by ISA-L.
        """
        self._ratio_max = ratio_max
        self.received_bytes = self._inflated_bytes = 0
        self._message_bytes_max = message_bytes_max
        self._streams = streams or Streams()
        self.ref: weakref.ref[Inflating] = weakref.ref(self, self._streams.forget)
        self.open_bytes = 0
        self._stream: Stream | None = None
        self._takes_over = window_bytes > 0
        self._window = KeptWindow(window_bytes or WINDOW_BYTES)
        self._large_bytes = large_bytes
        self._is_large = False
        """The stream is ISA-L's."""
        self._is_spoiled = False
        """The last message ended inside a block: nothing behind it can be known for what it was."""
        self.is_under_way = False
        """A message is being inflated, maybe in a thread."""
        self.has_last_blocks = False
        """A stream has ended: where one does, a message costs many times what others do."""
        self._is_fresh = True
        """The stream has been given nothing yet."""

    def inflate(self, message: bytes | bytearray) -> bytes | Unfinished:
        """Return the message whose compressed payload is ``message``, or the work that is left.

        What comes back at once has less than ``QUICK_BYTES``. Raises ``BrokenEncoding`` and ``TooLarge``.
        """
        if not message:
            return b""  # Some senders leave the whole empty block off (7.2.3.6).
        size = len(message)
        self.received_bytes += size
        bytes_max = self._allowed_bytes()
        block = message if message.endswith(_TRAILER) else message + _TRAILER
        stream = self._stream
        is_large = size >= self._large_bytes
        if stream is None or is_large is not self._is_large:
            stream = self._open(is_large=is_large)
        if len(block) > _SLICE_BYTES_MAX:
            return self._unfinished(block, 0, bytes_max)
        asked_bytes = max(min(bytes_max + 1, QUICK_BYTES), 1)
        try:
            plain = stream.decompress(block, asked_bytes)
        except ISAL_ERRORS as error:
            raise _damaged() from error
        self._is_fresh = False
        self._inflated_bytes += len(plain)
        if len(plain) > bytes_max:
            raise self._too_large(bytes_max)
        if stream.eof:
            self.has_last_blocks = True
            if stream.unused_data not in _ENDS:
                return self._unfinished(block, len(block), bytes_max, plain)
            # The message ends with its last block: how some senders end all of them.
            self._stream = None
        elif len(plain) == asked_bytes:
            return self._unfinished(block, len(block), bytes_max, plain)
        if self._takes_over:
            self._window.add(plain)
        else:
            self._end_message()
        return plain

    def close(self) -> None:
        """Close the stream, if one is open, and keep its window. Only between two messages."""
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                self._is_spoiled = bool(stream.decompress(_LAST_BLOCK, 1)) or not stream.eof
            except ISAL_ERRORS:
                self._is_spoiled = True

    def pack(self) -> None:
        """Close the stream, if one is open, and pack its window. Only between two messages."""
        self.close()
        self._window.pack()

    def _open(self, *, is_large: bool) -> Stream:
        self.close()
        if self._is_spoiled:
            raise _damaged()
        self._is_large = is_large
        stream = self._begin()
        if self._takes_over:
            window_bytes = self._window.bytes_max
            # Beside the stream: what it began with, which the library keeps, and the window as it is kept.
            self.open_bytes = 2 * window_bytes + window_bytes // 8
            self.open_bytes += STREAM_BYTES if is_large else ZLIB_STREAM_BYTES + window_bytes
            self._streams.opened(self)
        return stream

    def _unfinished(
        self, block: bytes | bytearray, at: int, bytes_max: int, plain: bytes = b""
    ) -> Unfinished:
        self.is_under_way = True
        self._streams.let_be(self)
        windows = self._windows(block, at, bytes_max, plain)
        return Unfinished(windows, begin=plain, payload_bytes=len(block))

    def _allowed_bytes(self) -> int:
        """Return to how many bytes this message may inflate."""
        if self._ratio_max is None:
            return self._message_bytes_max
        allowed_bytes = max(RATIO_FREE_BYTES, self._ratio_max * self.received_bytes)
        return min(self._message_bytes_max, allowed_bytes - self._inflated_bytes)

    def _too_large(self, bytes_max: int) -> TooLarge:
        if bytes_max < self._message_bytes_max:
            return TooLarge(
                f"messages inflate to more than {self._ratio_max} times what was sent "
                "(inflate_ratio_max); send them less compressed"
            )
        return TooLarge(f"a message is larger than {bytes_max} bytes; send less at once, or by POST")

    def _windows(self, block: bytes | bytearray, at: int, bytes_max: int, plain: bytes) -> Iterator[bytes]:
        """Inflate ``block`` window by window; the stream was given what stands before ``at``.

        ``plain``: what came out of that; it was counted, and is not among what comes. The stream is closed.
        """
        view = memoryview(block)
        left_bytes, streams, slice_bytes = bytes_max - len(plain), 1, _SLICE_BYTES_MIN
        stream = self._stream
        assert stream is not None
        self._window.add(plain)
        while True:
            if stream.eof:
                at -= len(stream.unused_data)
                self.has_last_blocks = True
                stream = self._begin()
                plain = b""
                streams, slice_bytes = streams + 1, _SLICE_BYTES_MIN
                if streams > _STREAMS_MAX:
                    raise BrokenEncoding(f"a compressed message has more than {_STREAMS_MAX} last blocks")
            given = stream.unconsumed_tail
            # Output may wait inside although all input was taken.
            if not given and len(plain) < PIECE_BYTES:
                # A message that ends with the last block itself has only the trailer added here behind it.
                if at == len(view) or (self._is_fresh and view[at:] == _TRAILER):
                    break
                given = bytes(view[at : at + slice_bytes])
                at += len(given)
                slice_bytes = min(slice_bytes * 2, _SLICE_BYTES_MAX)
            try:
                plain = stream.decompress(given, PIECE_BYTES)
            except ISAL_ERRORS as error:
                raise _damaged() from error
            self._is_fresh = False
            left_bytes -= len(plain)
            self._inflated_bytes += len(plain)
            if left_bytes < 0:
                raise self._too_large(bytes_max)
            self._window.add(plain)
            yield plain
        self._end_message()
        self.is_under_way = False

    def _end_message(self) -> None:
        """Close the stream after a message, and keep its window if the next may refer to it."""
        self.close()
        if not self._takes_over:
            self._window.clear()
        if self._is_spoiled:
            raise _damaged()

    def _begin(self) -> Stream:
        """Begin a stream that knows the window."""
        window = self._window.content()
        if self._is_large:
            stream = cast(Stream, isal_zlib.decompressobj(wbits=-15, zdict=window))
        else:
            bits = max(self._window.bytes_max.bit_length() - 1, _BITS_MIN)
            stream = cast(Stream, zlib.decompressobj(wbits=-bits, zdict=window))
        self._stream, self._is_fresh = stream, True
        return stream


def _damaged() -> BrokenEncoding:
    return BrokenEncoding("a compressed message is damaged (permessage-deflate)")
