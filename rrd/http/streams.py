"""Streams of permessage-deflate that are open: few at once, and none that isn't used.

A stream takes 86 KiB, and all that the next message needs of it is its window: 32 KiB at most, and text can
be packed to a fifth or less. So a socket's stream is closed when others need the room, and its window kept;
where nothing comes for some seconds, that is packed. The next message opens a new stream: 10 µs, or 60 where
the window was packed.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol

import zstandard
from isal import isal_zlib

from rrd.wire.inflate import ISAL_ERRORS

WINDOW_BYTES = 32 << 10
"""How far back deflate refers, at most (RFC 1951, 2)."""

STREAM_BYTES = 86 << 10
"""What a stream holds, with its window."""

OPEN_MAX = 128
"""Streams that are open at once, beside those whose message takes long: these count with what they hold."""

IDLE_S = 5.0
"""A window is packed once nothing has come for so long, or twice as long."""

_PACKED_AT_ONCE = 32
"""Windows that are packed before others get their turn: 30 µs each."""


class Inflating(Protocol):
    """What a socket's ``Inflater`` lets be done with its stream."""

    ref: weakref.ref[Inflating]
    received_bytes: int
    is_under_way: bool
    """A message is being inflated, maybe in a thread: the stream must stay."""

    def close(self) -> None:
        """Close the stream, if one is open, and keep its window."""
        ...

    def pack(self) -> None:
        """Close the stream, if one is open, and pack its window."""
        ...


class Streams:
    """The streams of all sockets. It knows the sockets by weak references: those that end just go."""

    def __init__(self, *, open_max: int = OPEN_MAX) -> None:
        self._open_max = open_max
        self._open: dict[weakref.ref[Inflating], None] = {}
        """The one that was opened first stands first."""
        self._unpacked: dict[weakref.ref[Inflating], int] = {}
        """Those that hold a stream or a window as it is, and what they had received at the last sweep."""

    @property
    def open_count(self) -> int:
        return len(self._open)

    def opened(self, inflating: Inflating) -> None:
        """It has opened its stream; the one that has been open for longest may have to close."""
        while len(self._open) >= self._open_max:
            ref = next(iter(self._open))
            del self._open[ref]
            if (oldest := ref()) is not None:
                oldest.close()
        self._open[inflating.ref] = None
        self._unpacked.setdefault(inflating.ref, -1)

    def let_be(self, inflating: Inflating) -> None:
        """Its message takes long, and it closes its stream itself."""
        self._open.pop(inflating.ref, None)

    def forget(self, ref: weakref.ref[Inflating]) -> None:
        """It is gone."""
        self._open.pop(ref, None)
        self._unpacked.pop(ref, None)

    async def run(self) -> None:
        """Pack the windows of idle sockets, until cancelled."""
        while True:
            await asyncio.sleep(IDLE_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Pack the windows of those that have received nothing since the last sweep."""
        for number, ref in enumerate(list(self._unpacked)):
            self._look_at(ref)
            if number % _PACKED_AT_ONCE == _PACKED_AT_ONCE - 1:
                await asyncio.sleep(0)

    def _look_at(self, ref: weakref.ref[Inflating]) -> None:
        inflating = ref()
        if inflating is None or ref not in self._unpacked:
            return
        if inflating.is_under_way or self._unpacked[ref] != inflating.received_bytes:
            self._unpacked[ref] = inflating.received_bytes
            return
        self._open.pop(ref, None)
        del self._unpacked[ref]
        inflating.pack()


def read_back(stream: isal_zlib.Decompress) -> bytes | None:
    """Return the window of a stream between two messages, full as it is. The stream is spoiled by that.

    The library doesn't give it out, but inflates a block that copies what came 32 KiB before, for 32 KiB.
    None: the stream is inside a block, so the last message was damaged.
    """
    try:
        copied: bytes = stream.decompress(_COPY_OF_WINDOW, _COPIED_BYTES + 1)
    except ISAL_ERRORS:
        return None
    return copied[:WINDOW_BYTES] if len(copied) == _COPIED_BYTES and not stream.eof else None


_MATCH_BYTES = 258
_MATCHES = -(-WINDOW_BYTES // _MATCH_BYTES)
_COPIED_BYTES = _MATCHES * _MATCH_BYTES


def _copy_of_window() -> bytes:
    """Return a block with fixed codes (RFC 1951, 3.2.6) of matches 258 bytes long, 32,768 bytes back.

    The empty block of a flush follows, up to a boundary of bytes.
    """
    bits = "0" + "10"  # Not the last; fixed codes. From here on as they stand in the stream.
    bits += ("11000101" + "11101" + "1" * 13) * _MATCHES  # Length code 285, distance code 29, its extra bits.
    bits += "0000000" + "000"  # The end of the block; an empty one that is stored.
    size = -(-len(bits) // 8)
    return int(bits[::-1], 2).to_bytes(size, "little") + b"\x00\x00\xff\xff"


_COPY_OF_WINDOW = _copy_of_window()

_packer = zstandard.ZstdCompressor(level=1, write_checksum=False)
_unpacker = zstandard.ZstdDecompressor()


def pack(window: bytes) -> bytes:
    """Return a window in less room, if it is text."""
    # A copy: the library leaves as much room behind it as the worst case takes.
    return bytes(memoryview(_packer.compress(window)))


def unpack(packed: bytes) -> bytes:
    return _unpacker.decompress(packed)
