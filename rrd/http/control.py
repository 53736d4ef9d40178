"""The control socket: HTTP over a Unix socket in the data directory, for ``rrd status`` and ``rrd top``.

The file's mode lets rrd's own user and root in, so no key is asked for, and nothing of it is reached over a
network. It is there from before the start's recovery until the stop has finished what was under way.

``GET /status`` tells how the daemon is (``report``), ``GET /top`` what is busiest just now. Both only tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from rrd import layout
from rrd.disk.socket_file import listen_at, remove_socket
from rrd.http.busiest import Busiest
from rrd.http.problems import json_response, problem
from rrd.http.report import Report
from rrd.http.services import Services
from rrd.log import emit

logger = logging.getLogger(__name__)

_BACKLOG = 16
_ASKING_MAX = 16
"""Questions that are answered at once: the others are told to come again."""

_MEASURING_S = 0.2
"""How long ``/top`` waits for what has to be measured; then it tells what was measured before."""

_KEEPALIVE_S = 15.0
_HEAD_BYTES_MAX = 8_190
_SHUTDOWN_S = 1.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """What the control socket answers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._report = Report(services)
        self._busiest = Busiest(services.registry.opened, services.clock)
        self._asking = 0

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._bounded], client_max_size=1)
        app.router.add_get("/status", self._get_status)
        app.router.add_get("/top", self._get_top)
        return app

    async def close(self) -> None:
        """Look at nothing more. Call it when no question is under way."""
        self._busiest.forget()
        await self._report.close()

    async def _get_status(self, _: web.Request) -> web.Response:
        return json_response(await self._report.told())

    async def _get_top(self, _: web.Request) -> web.Response:
        """What changes from second to second, and what is busiest since the question before."""
        look, pulse = await self._busiest.look(), self._services.pulse
        return json_response(
            {
                "at_ms": self._services.clock.now_ms(),
                "now": await self._report.figures(wait_s=_MEASURING_S),
                **msgspec.to_builtins(self._report.shares()),
                "counted": pulse.counted(),
                "latencies": pulse.latencies(),
                **msgspec.to_builtins(look),
            }
        )

    @web.middleware
    async def _bounded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self._asking >= _ASKING_MAX:
            return problem(503, "busy", "too many questions at once; ask again in a moment")
        self._asking += 1
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the one who asks is told where to look
            emit(logger, logging.ERROR, "control_failed", exc_info=True, path=request.path)
            return problem(500, "internal", "the log says what went wrong (control_failed)")
        finally:
            self._asking -= 1


async def serve_control(services: Services, stack: contextlib.AsyncExitStack) -> None:
    """Listen at the control socket until ``stack`` ends, which removes it.

    The data directory must be held: a socket that a daemon left behind is replaced. Where none can be made,
    the log says so, and the daemon goes on without.
    """
    path = layout.control_path(services.config.data_dir)
    control = Control(services)
    runner = web.AppRunner(
        control.app(),
        access_log=None,
        keepalive_timeout=_KEEPALIVE_S,
        max_line_size=_HEAD_BYTES_MAX,
        max_field_size=_HEAD_BYTES_MAX,
        shutdown_timeout=_SHUTDOWN_S,
    )
    try:
        listening = listen_at(path, backlog=_BACKLOG)
    except OSError as error:
        emit(
            logger, logging.WARNING, "control_socket_failed", path=path, error=error.strerror,
            next_step="events are taken; rrd status and rrd top get no answer. Remove what is at that path,"
            " or put data_dir on a file system that has sockets, then restart rrd",
        )  # fmt: skip
        return
    stack.push_async_callback(control.close)
    stack.push_async_callback(_stop, runner, path)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_unix_server(runner.server, sock=listening)
    stack.push_async_callback(_close, server)


async def _close(server: asyncio.AbstractServer) -> None:
    server.close()


async def _stop(runner: web.AppRunner, path: str) -> None:
    await runner.cleanup()
    with contextlib.suppress(OSError):
        await asyncio.to_thread(remove_socket, path)
