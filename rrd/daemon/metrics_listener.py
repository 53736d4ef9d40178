"""The listener of the metrics (``metrics_listen``), a port or a Unix socket: up before recovery is done."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import logging
import os
import socket
import stat

from rrd.config import Config
from rrd.config.listen import Address, parse_listen
from rrd.disk import files
from rrd.errors import ConfigError
from rrd.http.services import Services
from rrd.log import emit

_BACKLOG = 16

logger = logging.getLogger(__name__)


async def listen_for_scrapes(config: Config, services: Services, stack: contextlib.AsyncExitStack) -> None:
    """Listen where ``metrics_listen`` says, if it says anything, until ``stack`` is closed.

    Raises ``ConfigError`` where it can't.
    """
    address = parse_listen("metrics_listen", config.metrics_listen)
    if address is None:
        return
    try:
        listening = await asyncio.to_thread(_bind, address)
    except OSError as error:
        raise ConfigError(_cannot_listen(config.metrics_listen, error)) from None
    # Here, since nothing else needs its library; in a thread, since reading modules would keep the loop.
    scrapes = (await asyncio.to_thread(importlib.import_module, "rrd.http.scrapes")).ScrapeServer(services)
    stack.push_async_callback(scrapes.close)
    loop = asyncio.get_running_loop()
    if address.path:
        stack.callback(files.remove, address.path)
        server = await loop.create_unix_server(scrapes, sock=listening, backlog=_BACKLOG)
    else:
        server = await loop.create_server(scrapes, sock=listening, backlog=_BACKLOG)
    stack.callback(server.close)
    emit(logger, logging.INFO, "metrics_listening", address=address.path or _host_and_port(listening))


def _bind(address: Address) -> socket.socket:
    """Return a socket that listens there. Raises ``OSError``."""
    if address.path:
        return _bind_path(address.path)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, at = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(at)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _bind_path(path: str) -> socket.socket:
    """Take the place of a socket that a killed daemon has left, and of nothing else."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is there")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                files.remove(path)
            else:
                raise OSError(errno.EADDRINUSE, "another program listens there")
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(path)
        files.make_shared(path)  # A scraper is another user, in rrd's group.
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _host_and_port(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cannot_listen(setting: str, error: OSError) -> str:
    """Return what happened, where, and what to do next."""
    if error.errno == errno.EADDRINUSE:
        step = "Stop the program that listens there, or choose another port or path"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        step = "Choose a port from 1024 on, or a path in a directory that rrd may write, like /run/rrd"
    elif setting.startswith("unix:"):
        step = "Its directory must be there, and the path may have 107 bytes at most"
    else:
        step = "Name an address of this machine, like 127.0.0.1:9788"
    return f'metrics_listen = "{setting}": can\'t listen there: {error.strerror or error}. {step}'
