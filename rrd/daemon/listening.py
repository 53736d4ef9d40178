"""The listening sockets: from where rrd accepts connections, and what a failure to listen says."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Sequence

from rrd.config import Config
from rrd.errors import ConfigError
from rrd.http import request_log
from rrd.http.app import make_app
from rrd.http.door import Door
from rrd.http.server import Runner, Server
from rrd.http.services import Services

_KEEPALIVE_TIMEOUT_S = 120.0
"""How long a connection may wait for its next request; a little longer than proxies hold theirs."""


async def listen(
    config: Config,
    services: Services,
    stack: contextlib.AsyncExitStack,
    passed: Sequence[socket.socket] = (),
) -> int:
    """Start to listen and return the port. Requests wait until recovery is done.

    ``passed``: sockets that listen already (``inherited``); none: listen where the settings say. Raises
    ``ConfigError``.
    """
    runner = Runner(
        make_app(services),
        services,
        access_log=request_log.logger,
        access_log_class=request_log.RequestLog,
        auto_decompress=False,
        handler_cancellation=False,
        keepalive_timeout=_KEEPALIVE_TIMEOUT_S,
        shutdown_timeout=services.bounds.cut_off_wait_s,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    stack.push_async_callback(_finish_requests, services)
    stack.push_async_callback(services.sockets.close_all)
    server = runner.server
    assert isinstance(server, Server)
    door = Door(server, count_max=lambda: services.connections_max + services.backlog)
    server.on_lost = door.released
    try:
        if passed:
            port = door.listen_on(passed)
            # A stop begins with it: who connects from now on waits for the next daemon.
            services.on_stopping = door.close
        else:
            port = await door.listen(config.host, config.port, backlog=4096)
    except OSError as error:
        raise ConfigError(_cannot_listen(config, error)) from None
    services.listens.append(f"{config.host}:{port}{' (by the socket of systemd)' if passed else ''}")
    stack.push_async_callback(door.stop)
    stack.callback(services.end_waits)
    return port


async def _finish_requests(services: Services) -> None:
    """Let requests under way come to their end, bodies too: aiohttp takes no more in once it shuts down."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(services.bounds.stop_wait_s):
            await services.requests.none()


def _cannot_listen(config: Config, error: OSError) -> str:
    """Return what happened, where, and what to do next."""
    if error.errno == errno.EADDRINUSE and config.metrics_listen == f"{config.host}:{config.port}":
        step = "metrics_listen says the same address: choose another port for the metrics"
    elif error.errno == errno.EADDRINUSE:
        step = (
            "Stop the program that listens there, or choose another port (--port; 0 takes any that is free)"
        )
    elif error.errno in (errno.EACCES, errno.EPERM):
        step = "Choose a port from 1024 on (--port), with a proxy in front: rrd needs no privileges"
    else:
        step = "Set host to an address of this machine: 127.0.0.1, 0.0.0.0 or ::"
    return f"can't listen on {config.host}:{config.port}: {error.strerror}. {step}"
