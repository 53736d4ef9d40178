"""Accepting connections, and no more than there are file handles for.

The server of the loop accepts all that wait, and says so afterwards: a burst would take the handles that
storage needs. Here a connection is counted as it is accepted, and the others wait in the kernel meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable

from rrd.log import emit

logger = logging.getLogger(__name__)

_TURN_MAX = 64
"""Connections accepted at once; then others get their turn."""

_PAUSE_S = 0.05
"""How long nothing is accepted after the system had no handle."""


class Door:
    """Accepts on listening sockets. ``released`` must be called once for each connection that ended."""

    def __init__(self, factory: Callable[[], asyncio.BaseProtocol], *, count_max: Callable[[], int]) -> None:
        """``count_max`` tells how many may be open at once: asked each time, since a reload may change it."""
        self._factory = factory
        self._count_max = count_max
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._count = 0
        self._is_open = False

    async def listen(self, host: str, port: int, *, backlog: int) -> int:
        """Listen on all addresses of ``host`` and return the port. Raises ``OSError``."""
        found = await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                listening = socket.socket(family, kind, protocol)
                self._listening.append(listening)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.bind(address)
                listening.listen(backlog)
                listening.setblocking(False)
        except OSError:
            await self.stop()
            raise
        self._open()
        return int(self._listening[0].getsockname()[1])

    def listen_on(self, passed: Iterable[socket.socket]) -> int:
        """Accept on sockets that listen already and stay the caller's. Return the port of the first."""
        for each in passed:
            listening = each.dup()
            listening.setblocking(False)
            self._listening.append(listening)
        self._open()
        return int(self._listening[0].getsockname()[1])

    def close(self) -> None:
        """Accept nothing more. On sockets that another process has, too, clients go on to wait for that."""
        self._shut()
        for listening in self._listening:
            listening.close()
        self._listening = []

    async def stop(self) -> None:
        """Accept nothing more; return when all that was accepted is a connection."""
        self.close()
        if self._connecting:
            await asyncio.wait(self._connecting)

    def released(self) -> None:
        """A connection has ended: there is room for another."""
        self._count -= 1
        if not self._is_open:
            self._open()

    def _open(self) -> None:
        if not self._is_open and self._listening:
            self._is_open = True
            for listening in self._listening:
                self._loop.add_reader(listening, self._accept, listening)

    def _shut(self) -> None:
        if self._is_open:
            self._is_open = False
            for listening in self._listening:
                self._loop.remove_reader(listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_TURN_MAX):
            if self._count >= self._count_max():
                self._shut()
                return
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                level = logging.ERROR if error.errno not in {errno.EMFILE, errno.ENFILE} else logging.WARNING
                emit(logger, level, "not_accepted", error=error)
                self._shut()
                self._loop.call_later(_PAUSE_S, self._open)
                return
            self._count += 1
            task = self._loop.create_task(self._connect(connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError as error:  # The client has gone already.
            emit(logger, logging.DEBUG, "not_connected", error=error)
            connection.close()
            self.released()
