"""Connections beyond the limit: told so as soon as they ask, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from rrd.http.half_close import half_close

_LINGER_S = 1.0
"""How long a refused connection may take to ask, and then to read the reply. A close with bytes unread would
reset the connection, and the client might never see the reply (RFC 9112, 9.6)."""

_BODY = orjson.dumps(
    {"error": {"code": "too_many_connections", "message": "Too many connections are open; try again later."}}
)
_REPLY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\n"
    b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nVary: Origin, Authorization\r\n"
    b"Server: rrd\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_BODY), _BODY)


class RefusedConnections:
    """Those that were refused and are still open: ``count_max`` at most, the oldest makes room."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, count_max: int, on_lost: Callable[[], None]
    ) -> None:
        self.on_lost = on_lost
        self._loop = loop
        self._count_max = count_max
        self._open: dict[_Refused, None] = {}

    def refuse(self, transport: asyncio.Transport) -> None:
        """Take over a new connection: answer 503 to what it asks, or after a moment; then close it."""
        refused = _Refused(self, transport)
        transport.set_protocol(refused)
        self._open[refused] = None
        self._loop.call_later(_LINGER_S, refused.end)
        if len(self._open) > self._count_max:
            next(iter(self._open)).end()

    def forget(self, refused: _Refused) -> None:
        self._open.pop(refused, None)


class _Refused(asyncio.Protocol):
    """One of them. What it sends goes nowhere."""

    def __init__(self, crowd: RefusedConnections, transport: asyncio.Transport) -> None:
        self._crowd = crowd
        self._transport = transport
        self._has_answered = False

    def data_received(self, data: bytes) -> None:
        # A reply before the request would be taken for a reply to nothing by some clients.
        self._answer()

    def eof_received(self) -> None:
        self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.forget(self)
        self._crowd.on_lost()

    def end(self) -> None:
        """Close it, answered at least."""
        self._crowd.forget(self)
        self._answer()
        self._transport.close()

    def _answer(self) -> None:
        if not self._has_answered and not self._transport.is_closing():
            self._has_answered = True
            self._transport.write(_REPLY)
            half_close(self._transport)
