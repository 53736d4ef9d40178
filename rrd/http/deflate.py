"""Inflates the messages of a socket that agreed on permessage-deflate (RFC 7692).

A message is a run of deflate blocks that goes on with the window of the messages before it. Most senders end
it with an empty block, whose last four bytes stay off the wire (7.2.1). One that can't do so ends it with a
block that says it is the last (BFINAL, 7.2.3.4). There the library's stream ends as well, so what follows is
given to a new one, which knows the window of the old.
"""

from __future__ import annotations

from isal import isal_zlib

from rrd.errors import BrokenEncoding, TooLarge
from rrd.wire.inflate import ISAL_ERRORS
from rrd.wire.layers import RATIO_FREE_BYTES

_TRAILER = b"\x00\x00\xff\xff"
"""What a sender leaves off the end of each message (RFC 7692, 7.2.1). Some leave it there. No message without
it ends in these bytes: its last one begins the empty block, and so has a zero bit."""

_WINDOW_BYTES = 32 << 10
"""How far back deflate refers, at most (RFC 1951, 2)."""

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


class Inflater:
    """One direction of one socket. Unusable once it has raised."""

    def __init__(self, *, message_bytes_max: int, ratio_max: int | None = None) -> None:
        """``message_bytes_max``: of a message, after inflation.

        ``ratio_max``: inflated bytes for each received one, over all messages, ``RATIO_FREE_BYTES`` free.
        """
        self._ratio_max = ratio_max
        self._received_bytes = self._inflated_bytes = 0
        self._message_bytes_max = message_bytes_max
        self._stream = isal_zlib.decompressobj(wbits=-15)
        self._recent: list[bytes] | None = []
        """The last output, some 32 KiB; None: not kept."""
        self._recent_bytes = 0
        self._total_bytes = 0
        self._has_last_blocks = False
        self._is_fresh = True
        """The stream has been given nothing yet."""

    def inflate(self, message: bytes | bytearray) -> bytes:
        """Return the message whose compressed payload is ``message``.

        Raises ``BrokenEncoding`` and ``TooLarge``.
        """
        bytes_max = self._message_bytes_max
        if not message:
            return b""  # Some senders leave the whole empty block off (7.2.3.6).
        self._received_bytes += len(message)
        if self._ratio_max is not None:
            allowed_bytes = max(RATIO_FREE_BYTES, self._ratio_max * self._received_bytes)
            bytes_max = min(bytes_max, allowed_bytes - self._inflated_bytes)
        try:
            block = message if message[-4:] == _TRAILER else message + _TRAILER
            plain = self._stream.decompress(block, bytes_max + 1)
            if self._stream.eof:
                plain = self._go_on(plain, bytes_max)
            elif self._recent is not None:
                self._remember(plain)
        except ISAL_ERRORS as error:
            raise BrokenEncoding("a compressed message is damaged (permessage-deflate)") from error
        if len(plain) > bytes_max:
            if bytes_max < self._message_bytes_max:
                raise TooLarge(
                    f"messages inflate to more than {self._ratio_max} times what was sent "
                    "(inflate_ratio_max); send them less compressed"
                )
            raise TooLarge(f"a message is larger than {bytes_max} bytes; send less at once, or by POST")
        self._inflated_bytes += len(plain)
        return plain

    def _go_on(self, plain: bytes, bytes_max: int) -> bytes:
        """Inflate what stands behind a last block. ``plain``: what came out until there."""
        self._has_last_blocks = True
        if self._recent is None:
            self._recent, self._recent_bytes = [], 0
        self._remember(plain)
        parts, budget = [plain], bytes_max + 1 - len(plain)
        rest = memoryview(self._stream.unused_data)
        self._begin()
        streams, slice_bytes = 1, _SLICE_BYTES_MIN
        # A message that ends with the last block itself has nothing behind it but the trailer added here.
        while budget > 0 and rest and not (self._is_fresh and rest == _TRAILER):
            piece = rest[:slice_bytes]
            plain = self._stream.decompress(piece, budget)
            self._is_fresh = False
            self._remember(plain)
            parts.append(plain)
            budget -= len(plain)
            if self._stream.eof:
                rest = rest[len(piece) - len(self._stream.unused_data) :]
                streams, slice_bytes = streams + 1, _SLICE_BYTES_MIN
                if streams > _STREAMS_MAX:
                    raise BrokenEncoding(f"a compressed message has more than {_STREAMS_MAX} last blocks")
                self._begin()
            else:
                rest = rest[len(piece) :]
                slice_bytes = min(slice_bytes * 2, _SLICE_BYTES_MAX)
        return b"".join(parts)

    def _begin(self) -> None:
        self._stream = isal_zlib.decompressobj(wbits=-15, zdict=self._window())
        self._is_fresh = True

    def _remember(self, plain: bytes) -> None:
        recent = self._recent
        assert recent is not None
        recent.append(plain)
        self._recent_bytes += len(plain)
        self._total_bytes += len(plain)
        if self._total_bytes > _TRIAL_BYTES and not self._has_last_blocks:
            self._recent = None
        elif len(recent) >= _PARTS_MAX or self._recent_bytes >= 2 * _WINDOW_BYTES:
            self._window()

    def _window(self) -> bytes:
        """Return what later blocks may refer to."""
        assert self._recent is not None
        window = b"".join(self._recent)[-_WINDOW_BYTES:]
        self._recent, self._recent_bytes = [window], len(window)
        return window
