"""Where a stream without an end goes out: how far it may be ahead of its taker, and how its end is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

from aiohttp import web
from aiohttp.http_writer import StreamWriter

from rrd.errors import RefusedError
from rrd.http.connection import Connection
from rrd.http.services import WatchBounds
from rrd.playback.frames import FRAME_BYTES, FrameForm

_AHEAD_BYTES = 32 << 10
"""What waits for a watcher in the connection, and so much more of a frame. The kernel holds some more."""

End = Literal["closed", "erased", "shutdown", "overrun", "revoked", "gone", "unreadable"]
_TOLD: dict[End, bytes] = {
    "closed": b'event: end\ndata: {"reason":"closed"}\n\n',
    "erased": b'event: end\ndata: {"reason":"erased"}\n\n',
    "shutdown": b'event: end\nretry: 1000\ndata: {"reason":"shutdown"}\n\n',
    "overrun": b'event: overrun\ndata: {"reason":"overrun"}\n\n',
}


class Over(Exception):
    """The stream ends."""

    def __init__(self, reason: End, *, can_tell: bool = True) -> None:
        """``can_tell``: no frame is under way."""
        super().__init__(reason)
        self.reason: End = reason
        self.can_tell = can_tell


class Outlet:
    """The response of one watcher."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        form: FrameForm,
        bounds: WatchBounds,
        may_go_on: Callable[[], None],
    ) -> None:
        """``may_go_on`` raises ``Over`` if nothing more may be sent; asked before anything is."""
        self.response = response
        self._request = request
        self._form = form
        self._bounds = bounds
        self._may_go_on = may_go_on
        self._loop = asyncio.get_running_loop()
        self._writer: StreamWriter | None = None
        self.is_ending = False
        """Its end is written, and waits for its taker."""
        self.written_at = self._loop.time()
        """When something was written last, by the loop's time."""

    @property
    def has_begun(self) -> bool:
        """The head of the response is sent."""
        return self.response.prepared

    def on_gone(self, call: Callable[[], None]) -> None:
        """Have ``call`` called when the client closes its side, and when the connection ends."""
        connection = self._request.protocol
        assert isinstance(connection, Connection)
        connection.on_gone = call

    async def begin(self) -> None:
        """Send the head of the response."""
        writer = await self.response.prepare(self._request)
        assert isinstance(writer, StreamWriter)
        self._writer = writer
        if self._request.transport is not None:
            # The same mark in both directions, so that below it nothing waits.
            self._request.transport.set_write_buffer_limits(high=_AHEAD_BYTES, low=_AHEAD_BYTES)

    async def write(self, data: bytes) -> None:
        """Write a frame; return when it is taken, but for a little. Raises ``Over``, ``ConnectionError``."""
        if len(data) <= 2 * FRAME_BYTES:
            await self.put(data)
            await self.taken()
            return
        view = memoryview(data)
        for start in range(0, len(data), _AHEAD_BYTES):
            is_whole = start + _AHEAD_BYTES >= len(data)
            try:
                await self.put(view[start : start + _AHEAD_BYTES])
                await self.taken()
            except Over as over:
                over.can_tell = is_whole or start == 0
                raise

    async def put(self, data: bytes | memoryview) -> None:
        """Write something, and don't wait until it is taken."""
        self.check()
        assert self._writer is not None
        if data:
            await self._writer.write(data, drain=False)
            self.written_at = self._loop.time()

    def is_ahead(self) -> bool:
        """Tell whether enough waits for the watcher."""
        transport = self._request.transport
        return transport is not None and transport.get_write_buffer_size() > _AHEAD_BYTES

    async def taken(self) -> None:
        """Wait until the watcher has taken what was written, but for a little. Raises ``Over``."""
        assert self._writer is not None
        if not self.is_ahead():
            return
        try:
            async with asyncio.timeout(self._bounds.patience_s):
                await self._writer.drain()
        except TimeoutError:
            raise Over("overrun") from None

    def check(self) -> None:
        """Raise ``Over``, or ``ConnectionResetError`` if there is nobody to go on for."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the watcher is gone")
        self._may_go_on()

    def cut_off_slow(self) -> None:
        """Wait for nothing that waits for its taker: it is over, now."""
        if self.is_ahead() or self.is_ending:
            self.abort()

    def abort(self) -> None:
        """Break the connection."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def end(self, over: Over) -> None:
        """Tell why it is over, as far as that can be told, and close.

        Raises ``RefusedError`` where the head has not been sent.
        """
        if not self.has_begun:
            raise RefusedError("the recording can't be followed any more; try again") from over
        transport = self._request.transport
        is_complete = self._form.has_ids or over.reason == "closed"
        if not over.can_tell or not is_complete or transport is None:
            # Lines alone can't say why they end: a broken connection says that these are not all.
            self.abort()
            return
        assert self._writer is not None
        with contextlib.suppress(ConnectionError):
            if self._form.has_ids and over.reason in _TOLD:
                await self._writer.write(_TOLD[over.reason], drain=False)
            self.is_ending = True
            transport.set_write_buffer_limits(high=0)
            try:
                async with asyncio.timeout(self._bounds.end_s):
                    await self.response.write_eof()
            except TimeoutError:
                self.abort()
