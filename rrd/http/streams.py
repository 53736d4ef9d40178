"""Streams of permessage-deflate that are open: so many at once as may be, and none that isn't used.

A library's stream takes 15 to 86 KiB, and all that the next message needs of it is the window (``windows``),
which is 8 KiB with what browsers of Chromium's kind offer. So a socket's stream is closed when others need
the room, and its window kept; where nothing comes for some seconds, that is packed. The next message opens a
new stream: 1 µs, or 20 where the window was packed.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol

STREAM_BYTES = 86 << 10
"""What a stream of ISA-L holds, with its window."""

ZLIB_STREAM_BYTES = 7 << 10
"""What one of zlib's holds without its window."""

OPEN_BYTES_MAX = 20 << 20
"""What open streams hold at once, with what is kept beside: 640 of zlib's with 8 KiB windows, or 133 of
ISA-L's with 32 KiB. Those whose message takes long come on top: these count with what they hold."""

IDLE_S = 5.0
"""A window is packed once nothing has come for so long, or twice as long."""

_PACKED_AT_ONCE = 32
"""Windows that are packed before others get their turn: 30 µs each."""


class Inflating(Protocol):
    """What a socket's ``Inflater`` lets be done with its stream."""

    ref: weakref.ref[Inflating]
    open_bytes: int
    """What its stream holds while it is open, and what it keeps beside."""
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

    def __init__(self, *, open_bytes_max: int = OPEN_BYTES_MAX) -> None:
        self._open_bytes_max = open_bytes_max
        self._open_bytes = 0
        self._open: dict[weakref.ref[Inflating], int] = {}
        """What each holds. The one that was opened first stands first."""
        self._unpacked: dict[weakref.ref[Inflating], int] = {}
        """Those that hold a stream or a window as it is, and what they had received at the last sweep."""

    @property
    def open_count(self) -> int:
        return len(self._open)

    def opened(self, inflating: Inflating) -> None:
        """It has opened its stream; those that were opened last before it may have to close.

        They are still in the processor's cache. And where sockets have their turns one after another, the one
        that has been open for longest is the next to be needed: if it went, each would find its stream
        closed.
        """
        ref = inflating.ref
        self._drop(ref)
        while self._open and self._open_bytes + inflating.open_bytes > self._open_bytes_max:
            last_ref, size = self._open.popitem()
            self._open_bytes -= size
            if (last := last_ref()) is not None:
                last.close()
        self._open[ref] = inflating.open_bytes
        self._open_bytes += inflating.open_bytes
        self._unpacked.setdefault(ref, -1)

    def let_be(self, inflating: Inflating) -> None:
        """Its message takes long, and it closes its stream itself."""
        self._drop(inflating.ref)

    def forget(self, ref: weakref.ref[Inflating]) -> None:
        """It is gone."""
        self._drop(ref)
        self._unpacked.pop(ref, None)

    def _drop(self, ref: weakref.ref[Inflating]) -> None:
        # The last to know a socket may be a thread that inflated for it. That has been let be, so nothing is
        # subtracted there while the event loop counts.
        if (size := self._open.pop(ref, None)) is not None:
            self._open_bytes -= size

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
        self._drop(ref)
        del self._unpacked[ref]
        inflating.pack()
