"""The server side of a connection, below the handlers: what aiohttp does there by itself, in rrd's manner.

Every reply is HTTP/1.1, JSON and readable by any page, those to requests that never reach a handler too. A
connection that must end after an error ends so that the error arrives: the sender may still be sending, and a
plain close would then reset the connection and take the reply along (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo

from rrd import metrics
from rrd.errors import BadFraming, RrdError
from rrd.http.framing import Framing, HeadRefused, fail_body
from rrd.http.half_close import half_close
from rrd.http.hold import FREE_BYTES, Reservation
from rrd.http.pausing import ReadInTurn
from rrd.http.problems import add_owed_headers, note_refusal, problem
from rrd.http.sharing import party_of
from rrd.http.taking import TakerWatch
from rrd.http.turns import BULK_BYTES
from rrd.log import emit
from rrd.shares.admission import AdmittedPlace
from rrd.shares.queue import Who

logger = logging.getLogger(__name__)

_LINGER_S = 5.0
"""How long what comes after the last response is read and thrown away, before the connection is closed."""

_SKIP_S = 10.0
"""How long the rest of a body is read and thrown away that was answered before its end."""

_QUEUE_MAX = 32
"""Requests that may wait on one connection for those before them."""


def _peer_of(transport: asyncio.BaseTransport, trusted: tuple[str, ...]) -> Who:
    """Return who has opened a connection: an address, unless it is a trusted proxy's."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return Who("")
    address, _, _ = str(name[0]).partition("%")  # Without its zone (RFC 4007, 11).
    return Who("", "", party_of(address, trusted))


def unread_bytes(body: StreamReader) -> int:
    """Return how many bytes of a body have come and were not read; aiohttp's empty body has no count."""
    return 0 if body is EMPTY_PAYLOAD else body._size


def connection_of(request: web.BaseRequest) -> Connection:
    """Return the connection by which ``request`` came."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection


class Connection(ReadInTurn):
    """One connection. What it reads goes through ``Framing``."""

    __slots__ = (
        *("_ended", "_framing", "_gone", "_has_said_end", "_head_s", "_head_timer"),
        *("_peer", "_taker", "hold", "on_gone", "opening_turns", "place"),
    )

    def __init__(self, manager: Any, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        """``manager``: the ``server.Server`` that it is one of."""
        super().__init__(manager, loop=loop, **settings)
        parser = HttpRequestParser(
            self,
            loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=RequestPayloadError,
            auto_decompress=settings.get("auto_decompress", True),
        )
        self._framing = Framing(parser, head_bytes_max=self.max_line_size, queue_max=_QUEUE_MAX)
        self._parser: Any = self._framing
        self._ended = False
        """The client has sent all that it will, and may still read."""
        self._has_said_end = False
        self._peer: Who | None = None
        """Who has taken a place for it."""
        self._taker: TakerWatch | None = None
        self.on_gone: Callable[[], None] | None = None
        """Called when the client closes its side, and at the end. An answer that is endless sets it."""
        self._gone: asyncio.Event | None = None  # Made when the end of the connection is awaited; set by it.
        self.hold = Reservation(manager.services.unfinished, self)
        """What this connection makes the daemon hold."""
        self._head_s = manager.services.bounds.head_s
        self.opening_turns = manager.opening_turns
        self.place: AdmittedPlace | None = None
        """That of the request under way (``sharing``)."""
        self._head_timer: asyncio.TimerHandle | None = None
        """Runs while a head is awaited."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server: Any = self._manager
        peer = _peer_of(transport, server.services.config.trusted_proxies)
        if not server.refuses(transport, peer):
            self._peer = peer
            metrics.CONNECTIONS_OPEN.add(1)
            super().connection_made(transport)
            self._await_head()

    async def start(self) -> None:
        """Serve requests until the connection ends. What it still holds then is let go."""
        try:
            await super().start()
        finally:
            self.hold.release()

    def data_received(self, data: bytes) -> None:
        """Take in what one read brought."""
        received = len(data)
        metrics.BYTES_RECEIVED.add(received)
        if self._pace is not None:
            self.take_at_once(data)
            return
        super().data_received(data)
        if self._payload_parser is None:  # That of a socket counts by itself.
            self._watch_head()
            self.count(received=received)
        if received >= BULK_BYTES:
            self._turns.came(self, received)

    def count(self, *, received: int = 0, taken: int = 0) -> None:
        """Count what has come in and waits, in this connection's ``hold``.

        ``received``: bytes that came in just now. ``taken``: bytes that go to a decoder just now.
        """
        if self._payload_parser is not None:
            return
        framing, current = self._framing, self._current_request
        size = framing.held_bytes + len(self._message_tail)
        for _, body in self._messages:
            if body is not EMPTY_PAYLOAD:
                size += unread_bytes(body)
        if current is not None and (body := current.content) is not EMPTY_PAYLOAD:
            size += unread_bytes(body)
        if size > FREE_BYTES or self.hold.counted_bytes:
            self.hold.set_incoming(size, received=received, taken=taken)

    # For ``Reservation``

    def is_open_to_sender(self) -> bool:
        """Tell whether what is sent would be read."""
        return self.is_readable() and not self._ended

    # For ``ReadingTurns``

    def who(self) -> Who:
        """Return for whom it is read: an address before a key was shown."""
        hold = self.hold
        return Who(hold.tenant, hold.key) if hold.tenant or self._peer is None else self._peer

    def give_up(self, failure: RrdError) -> None:
        """Let what is under way end with ``failure``, and drop what waits."""
        if self._payload_parser is not None:
            give_up: Callable[[RrdError], None] | None = getattr(self._payload_parser, "give_up", None)
            if give_up is not None:
                give_up(failure)
                self._payload_parser.count_held()
            self.hold_back(False)
            return
        self._framing.give_up(failure)
        for _, body in self._messages:
            fail_body(body, failure)
        self.count()
        self.hold_back(False)  # The rest is read and thrown away, so that the answer arrives.

    # The head's deadline

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._head_s, self._on_late_head)

    def _watch_head(self) -> None:
        """Begin or end the wait for a head, by what came in last."""
        is_awaited = self._framing.has_part_of_head or self._request_count == 0
        if self._head_timer is None:
            if is_awaited:
                self._await_head()
        elif not is_awaited:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self._payload_parser is not None or self._upgraded or self.transport is None:
            return
        if self._framing.has_part_of_head:
            refusal = self._framing.refuse_late_head()
            self._messages.append((refusal, EMPTY_PAYLOAD))
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        elif self._request_count == 0:
            self.force_close()  # It has asked for nothing, and there is nothing to answer.

    def connection_lost(self, exc: BaseException | None) -> None:
        server: Any = self._manager
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._turns.forget(self)
        self.end_pace()
        if server is not None:
            server.on_lost()
            if self._peer is not None:
                server.places.give_back(self._peer)
                self._peer = None
                metrics.CONNECTIONS_OPEN.add(-1)
        if self._taker is not None:
            self._taker.end()
        super().connection_lost(exc)
        self._framing.end()
        if self._payload_parser is None:
            self.hold.set_incoming(0)
        if self._gone is not None:
            self._gone.set()
        if self.on_gone is not None:
            self.on_gone()

    def pause_writing(self) -> None:
        """The client takes less than it is sent: see to it that it takes some."""
        super().pause_writing()
        server: Any = self._manager
        if server is None or self.transport is None or self._payload_parser is not None:
            return  # What a socket is told waits for no one, and never ends reading.
        if self.on_gone is not None:
            return  # An endless answer sees by itself to clients that are too slow.
        bytes_per_s_min = server.services.config.answer_bytes_per_s_min
        if self._taker is None and bytes_per_s_min:
            self._taker = TakerWatch(
                self.transport,
                bytes_per_s_min=bytes_per_s_min,
                interval_s=server.services.bounds.taken_interval_s,
                is_waiting=lambda: self._paused,
                on_slow=self._give_up_taker,
            )
        if self._taker is not None:
            self._taker.begin()

    def _give_up_taker(self) -> None:
        server: Any = self._manager
        if server is None or self.transport is None or self._payload_parser is not None:
            return
        refusals = server.services.refusals
        refusals.tell("taker_too_slow", code="taker_too_slow", status=408)
        refusals.count(code="taker_too_slow", status=408)
        self.transport.abort()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what came before the client closed its side; True keeps ours open until then."""
        if self._payload_parser is not None:  # A socket: it still hears what was stored.
            self._payload_parser.feed_eof()
            return True
        is_idle = self._request_count == 0 or (self._waiter is not None and not self._messages)
        if is_idle or self._has_said_end or self._force_close:
            return None
        self._ended = True
        if not self._upgraded:  # What is behind an upgrade is for the socket, or for ``finish_response``.
            self._framing.end()
        if self.on_gone is not None:
            self.on_gone()
        return True

    def set_parser(self, parser: Any, *more: Any) -> None:
        """A socket begins. Its frames, and the end of the client's side, may have come before."""
        super().set_parser(parser, *more)
        self._framing.has_switched()
        if self._ended:
            parser.feed_eof()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response. The last one before the connection has to end says so, and arrives."""
        if not self._upgraded:  # What is behind an upgrade that is declined is not parsed yet.
            self._mark_last(resp)
        sent, is_reset = await super().finish_response(request, resp, start_time)
        if self._ended:  # An upgrade that was declined has just put what is behind it into ``_framing``.
            self._framing.end()
        if not is_reset and self._payload_parser is None:
            if not request.content.is_eof():
                await self._skip_body(request.content, sent)
            self._mark_last(sent)
            if not sent.keep_alive and not self._ended:
                await self._linger()
        if self._framing.failed:
            self._framing.drop_body()
        self.count()
        return sent, is_reset

    def _mark_last(self, response: web.StreamResponse) -> None:
        if (self._framing.failed or self._ended) and not self._messages:
            response.force_close()

    async def _skip_body(self, body: StreamReader, response: web.StreamResponse) -> None:
        """Read the rest of a body that was answered early: a client may read only once all is sent."""
        if not response.keep_alive:
            self._say_end()
        try:
            async with asyncio.timeout(_SKIP_S):
                while not body.is_eof():
                    await body.readany()
        except (TimeoutError, RrdError, ConnectionError):
            self._framing.end()

    async def _linger(self) -> None:
        self._say_end()
        if self.transport is None:
            return
        self._gone = asyncio.Event()
        try:
            async with asyncio.timeout(_LINGER_S):
                await self._gone.wait()
        except TimeoutError:
            return  # It still sends; closing may now reset the connection.

    def _say_end(self) -> None:
        """Close our side alone: the client sees that the reply is over, and what it sends harms nothing."""
        if not self._has_said_end:
            self._has_said_end = True
            half_close(self.transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what no handler has answered, in JSON and with CORS headers, and close."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun, so an error can't be told any more")
        if isinstance(exc, ConnectionError) and self.transport is None:
            raise ConnectionError("the client is gone, so there is no one to tell") from exc
        if isinstance(exc, HeadRefused):
            response = problem(exc.status, exc.code, str(exc))
            origin = exc.origin
            # aiohttp makes up an HTTP/1.0 request for what it couldn't parse, and answers in its version.
            request._version = HttpVersion11
        else:
            emit(logger, logging.ERROR, "request_failed", exc_info=exc or False, method=request.method)
            response = problem(status, "internal", "Something went wrong here; the log says what.")
            origin = request.headers.get("Origin")
        server: Any = self._manager
        note_refusal(request, response, services=server.services if server else None)
        add_owed_headers(response, origin)
        response.force_close()
        return response

    def _make_error_handler(
        self, err_info: _ErrInfo
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            return self.handle_error(request, err_info.status, err_info.exc, err_info.message)

        return handler

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what aiohttp didn't expect. That a body ends badly after its answer is nothing to tell."""
        if not isinstance(kw.get("exc_info"), BadFraming | ConnectionError):
            super().log_exception(*args, **kw)
