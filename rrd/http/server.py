"""The server of aiohttp, with connections of rrd's own: how many there are, and who may have one more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from rrd.http.app import short_way
from rrd.http.connection import Connection
from rrd.http.crowding import RefusedConnections
from rrd.http.paths import tidy_target
from rrd.http.problems import add_shared_headers, http_problem, note_refusal
from rrd.http.services import Services
from rrd.http.turns import OpeningTurns, ReadingTurns
from rrd.shares.queue import Who
from rrd.shares.room import Room, Times

_TIMES = Times(tenant=0, key=0, address=3)
"""One address gets three quarters of all connections at most, before it has shown any key."""

_ShortWay = Callable[[web.Request], Awaitable[web.StreamResponse] | None]


class Runner(web.AppRunner):
    """An ``AppRunner`` whose connections are ``Connection``."""

    def __init__(self, app: web.Application, services: Services, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._services = services

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return Server(server, self._services, short_way(self.app))


class Server(web.Server):
    def __init__(self, plain: web.Server, services: Services, short_way: _ShortWay) -> None:
        super().__init__(
            _answering(plain.request_handler, short_way),
            request_factory=_tidying(plain.request_factory),
            handler_cancellation=plain.handler_cancellation,
            **plain._kwargs,
        )
        self.services = services
        self.on_lost: Callable[[], None] = lambda: None
        """Called for each connection that has ended."""
        self.places = Room(services.connections_max, _TIMES)
        self.turns = ReadingTurns(self._loop.call_soon, services.bounds.turn_bytes)
        self.opening_turns = OpeningTurns(self._loop.call_soon, services.garbage.crowded)
        self._refused = RefusedConnections(self._loop, count_max=services.backlog // 2, on_lost=self._lost)

    def _lost(self) -> None:
        self.on_lost()

    def __call__(self) -> RequestHandler:
        # As it is now: a reload may change it. ``Framing`` bounds heads as a whole; the parser is to bound no
        # part of them earlier.
        head_bytes_max = self.services.config.head_bytes_max
        settings = {**self._kwargs, "max_line_size": head_bytes_max, "max_field_size": head_bytes_max}
        return Connection(self, loop=self._loop, **settings)

    def refuses(self, transport: asyncio.BaseTransport, peer: Who) -> bool:
        """Tell whether a new connection is one too many, of all or of ``peer``; it is told so, and closed.

        Otherwise it has taken a place, which is to be given back.
        """
        if self.places.size != self.services.connections_max:  # A reload has changed it.
            self.places.resize(self.services.connections_max)
        if len(self._connections) < self.services.connections_max and self.places.try_take(peer):
            return False
        # Not asked what it is: those of uvloop don't derive from asyncio's.
        self._refused.refuse(cast(asyncio.Transport, transport))
        refusals = self.services.refusals
        code = "too_many_connections"
        refusals.tell("refused", method="-", path="-", status=503, code=code)
        refusals.count(code=code, status=503, tenant="", recording_id="")
        return True


def _answering(
    handler: Any, short_way: _ShortWay
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        """Answer in JSON what aiohttp raises outside of all middlewares (RFC 9110, 10.1.1: Expect)."""
        if (answer := short_way(request)) is not None:
            return await answer
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            response = http_problem(request, error)
            note_refusal(request, response)
            add_shared_headers(request, response)
        return response

    return handle  # type: ignore[return-value]


def _tidying(factory: Any) -> Any:
    def make_request(message: RawRequestMessage, *more: Any) -> web.BaseRequest:
        request: web.BaseRequest = factory(tidy_target(message), *more)
        return request

    return make_request
