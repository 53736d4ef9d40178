"""What answers a scrape: one path, a few connections, each for one request and a few seconds.

It is a server of its own beside the API's: without keys, since who reaches it is decided by where it listens;
without CORS, since no page has anything to look for here. It answers while the daemon starts, and while the
index is locked or the disk hangs: then with the figures of a moment ago.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from rrd.http.exposition import make_registry, render
from rrd.http.services import Services
from rrd.http.standing import bring_up_to_date

CONNECTIONS_MAX = 16
"""A scraper or two, and a person who looks. Others are closed at once."""

_SHUTDOWN_S = 1.0
"""How long a stop waits for a scrape under way."""

_MEASURE_S = 1.0
"""How long a scrape waits for figures that have to be measured."""


class ScrapeServer(web.Server):
    """Makes a connection for each that a listener accepts, and answers on it. ``close`` is owed."""

    def __init__(self, services: Services) -> None:
        super().__init__(self._answer, access_log=None, max_line_size=4096, max_field_size=4096)
        self._services = services
        self.connection_s = services.bounds.scrape_s
        self._registry = make_registry()
        # Of its own: where the disk hangs, the threads that all share may all wait for it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self.count = 0
        """How many connections are open."""

    def __call__(self) -> web.RequestHandler:
        return _ScrapeConnection(self, loop=asyncio.get_running_loop(), **self._kwargs)

    async def close(self) -> None:
        """End all connections."""
        await self.shutdown(timeout=_SHUTDOWN_S)
        self._thread.shutdown(wait=False)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        response = await self._respond(request)
        response.headers.update({"Server": "rrd", "Cache-Control": "no-store"})
        response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/metrics":
            return web.Response(status=404, text="rrd's figures are at /metrics.\n")
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, text="GET them.\n", headers={"Allow": "GET, HEAD"})
        await bring_up_to_date(self._services, wait_s=_MEASURE_S)
        wanted = {
            "accept": request.headers.get("Accept", ""),
            "accept_encoding": request.headers.get("Accept-Encoding", ""),
        }
        loop = asyncio.get_running_loop()
        body, headers = await loop.run_in_executor(self._thread, lambda: render(self._registry, **wanted))
        return web.Response(body=body, headers=headers)


class _ScrapeConnection(web.RequestHandler):
    """One connection. Whatever it does, it ends in time."""

    __slots__ = ("_counts", "_server", "_timer")

    def __init__(self, server: ScrapeServer, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(server, loop=loop, **settings)
        self._server = server
        self._counts = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._server.count >= CONNECTIONS_MAX:
            transport.close()
            return
        self._server.count += 1
        self._counts = True
        self._timer = self._loop.call_later(self._server.connection_s, transport.close)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counts:
            self._counts = False
            self._server.count -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong here. Whether a request is HTTP is up to its sender, who is told."""
        # A scraper that was set to TLS comes again every few seconds.
        if not isinstance(kw.get("exc_info"), HttpProcessingError | ConnectionError):
            super().log_exception(*args, **kw)
