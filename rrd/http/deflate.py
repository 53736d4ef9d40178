"""Inflates the messages of a socket that agreed on permessage-deflate (RFC 7692).

A message is a run of deflate blocks that goes on with the window of the messages before it. Most senders end
it with an empty block, whose last four bytes stay off the wire (7.2.1). One that can't do so ends it with a
block that says it is the last (BFINAL, 7.2.3.4). There the library's stream ends as well, so what follows is
given to a new one, which knows the window of the old.

A kilobyte may inflate to a megabyte, so what isn't quick is left to the caller, window by window
(``Unfinished``), and may be done in a thread.

The library's stream takes 86 KiB, so a socket has one only while it is in use: ``streams`` says when it goes.
Each message ends on a boundary of bytes and blocks (7.2.1), so a new stream can go on from the window alone.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator

from isal import isal_zlib

from rrd.errors import BrokenEncoding, RrdError, TooLarge, without_frames
from rrd.http.streams import STREAM_BYTES, WINDOW_BYTES, Inflating, Streams, pack, read_back, unpack
from rrd.wire.inflate import ISAL_ERRORS
from rrd.wire.inflate import WINDOW_BYTES as PIECE_BYTES
from rrd.wire.layers import RATIO_FREE_BYTES
from rrd.wire.turns import QUICK_BYTES, WINDOW_COST_BYTES

_TRAILER = b"\x00\x00\xff\xff"
"""What a sender leaves off the end of each message (RFC 7692, 7.2.1). Some leave it there. No message without
it ends in these bytes: its last one begins the empty block, and so has a zero bit."""

_ENDS = {b"", _TRAILER, b"\0" + _TRAILER}
"""What may stand behind the last block of a message and say nothing: an octet that pads it (7.2.3.4), and the
trailer added here."""

_TRIAL_BYTES = 64 << 10
"""After so many bytes without a last block, recent output is kept no more. Senders flush all their messages
alike, and keeping a window doubles what an open socket of a browser holds."""

_PARTS_MAX = 64

_STREAMS_MAX = 1024
"""Last blocks in one message, at most: an empty one takes two bytes on the wire, and a new stream here."""

_SLICE_BYTES_MIN = 64
_SLICE_BYTES_MAX = 64 << 10
"""A stream that ends copies what was given to it and comes after its end. Slices that grow from the lower to
the upper bound keep many short streams in one message from costing its size squared."""


_STEP_BYTES = 1 << 20
"""What a step adds counts once the event loop has its turn, and each socket may have a step under way."""


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
        self, *, message_bytes_max: int, ratio_max: int | None = None, streams: Streams | None = None
    ) -> None:
        """``message_bytes_max``: of a message, after inflation.

        ``ratio_max``: inflated bytes for each received one, over all messages, ``RATIO_FREE_BYTES`` free.
        ``streams``: shared with other sockets; None: the stream stays open.
        """
        self._ratio_max = ratio_max
        self.received_bytes = self._inflated_bytes = 0
        self._message_bytes_max = message_bytes_max
        self._streams = streams or Streams()
        self.ref: weakref.ref[Inflating] = weakref.ref(self, self._streams.forget)
        self._stream: isal_zlib.Decompress | None = None
        self._kept = b""
        """The window, while no stream is open."""
        self._is_packed = self._is_spoiled = False
        self.is_under_way = False
        """A message is being inflated, maybe in a thread."""
        self._recent: list[bytes] | None = []
        """The last output, some 32 KiB; None: not kept."""
        self._recent_bytes = 0
        self._total_bytes = 0
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
        self.received_bytes += len(message)
        bytes_max = self._allowed_bytes()
        block = message if message[-4:] == _TRAILER else message + _TRAILER
        stream = self._stream
        if stream is None:
            stream = self._open()
        if len(block) > _SLICE_BYTES_MAX:
            return self._unfinished(block, 0, bytes_max)
        asked_bytes = max(min(bytes_max + 1, QUICK_BYTES), 1)
        try:
            plain = stream.decompress(block, asked_bytes)
        except ISAL_ERRORS as error:
            raise _damaged() from error
        self._inflated_bytes += len(plain)
        if len(plain) > bytes_max:
            raise self._too_large(bytes_max)
        if len(plain) < asked_bytes and not stream.eof:
            if self._recent is not None:
                self._remember(plain)
            return plain
        if stream.eof and stream.unused_data in _ENDS:
            # The message ends with its last block: how some senders end all of them.
            self._end_stream(plain)
            return plain
        return self._unfinished(block, len(block), bytes_max, plain)

    def close(self) -> None:
        """Close the stream, if one is open, and keep its window. Only between two messages."""
        if self._stream is None:
            return
        if self._recent is not None:
            self._kept, self._recent = self._window(), []
        else:  # Then more has come than a window holds.
            window = read_back(self._stream)
            self._is_spoiled = window is None
            self._kept = window or b""
        self._stream = None

    def pack(self) -> None:
        """Close the stream, if one is open, and pack its window. Only between two messages."""
        self.close()
        if self._kept and not self._is_packed:
            self._kept, self._is_packed = pack(self._kept), True

    def _open(self) -> isal_zlib.Decompress:
        if self._is_spoiled:
            raise _damaged()
        window = unpack(self._kept) if self._is_packed else self._kept
        self._kept, self._is_packed = b"", False
        if self._recent is not None:
            self._recent, self._recent_bytes = [window], len(window)
        stream = self._begin(window)
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
        self._keep(plain)
        while True:
            if stream.eof:
                at -= len(stream.unused_data)
                stream = self._end_stream(b"")
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
            yield self._keep(plain)
        if not self.has_last_blocks and self._total_bytes > _TRIAL_BYTES:
            self._recent = None
        self.close()
        self.is_under_way = False

    def _keep(self, plain: bytes) -> bytes:
        """Remember ``plain``, even if no last block was ever seen: one may come in this message."""
        if self._recent is None:
            self._recent, self._recent_bytes = [], 0
        self._remember(plain, is_trial=False)
        return plain

    def _end_stream(self, plain: bytes) -> isal_zlib.Decompress:
        """A last block has come, with ``plain`` before it: begin a stream that knows the window."""
        self.has_last_blocks = True
        self._keep(plain)
        return self._begin(self._window())

    def _begin(self, window: bytes) -> isal_zlib.Decompress:
        self._stream = stream = isal_zlib.decompressobj(wbits=-15, zdict=window)
        self._is_fresh = True
        return stream

    def _remember(self, plain: bytes, *, is_trial: bool = True) -> None:
        recent = self._recent
        assert recent is not None
        recent.append(plain)
        self._recent_bytes += len(plain)
        self._total_bytes += len(plain)
        if is_trial and self._total_bytes > _TRIAL_BYTES and not self.has_last_blocks:
            self._recent = None
        elif len(recent) >= _PARTS_MAX or self._recent_bytes >= 2 * WINDOW_BYTES:
            self._window()

    def _window(self) -> bytes:
        """Return what later blocks may refer to."""
        assert self._recent is not None
        window = b"".join(self._recent)[-WINDOW_BYTES:]
        self._recent, self._recent_bytes = [window], len(window)
        return window


def _damaged() -> BrokenEncoding:
    return BrokenEncoding("a compressed message is damaged (permessage-deflate)")
