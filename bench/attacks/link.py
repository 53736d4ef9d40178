"""Connections as raw as an attacker has them, and what all attacks share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import NamedTuple

from bench.frames import frame_head, handshake

NDJSON, JSON = "application/x-ndjson", "application/json"
PAUSE_S = 0.1
"""Between an attempt and the next, so that the attacker isn't busier than the daemon."""

_ZEROS = bytes(4)
_TIMEOUT_S = 30.0
_UNREAD_S = 60.0


class Victim(NamedTuple):
    """A daemon, and the key that the attacker holds: of the scope ``all``."""

    host: str
    port: int
    key: str
    source: str = ""
    """The address that connections come from; empty: as the system chooses."""


class Attack(NamedTuple):
    """One kind."""

    title: str
    run: Callable[[Victim], Awaitable[None]]
    """Goes on until it is cancelled."""


class Link:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send all of ``data``. Raises ``OSError`` if the daemon has closed."""
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Return the status of the next answer, whose head is read; 0 if there is none."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return 0
        return int(head.split(b" ", 2)[1])

    async def gone(self) -> None:
        """Read, and throw away, until the daemon closes."""
        with contextlib.suppress(OSError):
            while await self.reader.read(64 << 10):
                pass

    async def leave_unread(self) -> None:
        """Read nothing for a while: all that arrives is what the kernel takes in."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(_UNREAD_S)


@contextlib.asynccontextmanager
async def link(victim: Victim, *, receive_bytes: int | None = None) -> AsyncIterator[Link]:
    """Connect. ``receive_bytes`` is what the kernel may take in for a reader that doesn't read."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        if victim.source:
            sock.bind((victim.source, 0))
        await asyncio.get_running_loop().sock_connect(sock, (victim.host, victim.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=receive_bytes or 64 << 10)
    except BaseException:
        sock.close()
        raise
    try:
        yield Link(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def open_socket(
    victim: Victim, *, offer: str = "", query: str = "", recording_id: str | None = None
) -> AsyncIterator[Link]:
    """Open a WebSocket. Raises ``ConnectionError`` if it is refused."""
    async with link(victim) as connection:
        path = f"/recordings/{recording_id or new_id()}/ingest/ws?{query}"
        headers = f"Authorization: Bearer {victim.key}\r\n"
        await connection.send(handshake(victim.host, path, offer=offer, headers=headers))
        if (status := await connection.status()) != 101:
            raise ConnectionError(f"refused: {status}")
        yield connection


def raw_frame(payload: bytes, *, first: int, says_bytes: int | None = None) -> bytes:
    """Return a frame (RFC 6455, 5.2) with ``first`` as its first byte, masked with zeros.

    ``says_bytes`` is the length that it says, if that is another.
    """
    return frame_head(first, len(payload) if says_bytes is None else says_bytes) + _ZEROS + payload


def post_head(
    victim: Victim,
    size: int | None,
    *,
    encoding: str = "",
    kind: str = NDJSON,
    recording_id: str | None = None,
) -> bytes:
    """Return the head of a POST; ``size`` None: chunked."""
    lines = [
        f"POST /recordings/{recording_id or new_id()}/ingest HTTP/1.1",
        f"Host: {victim.host}",
        f"Authorization: Bearer {victim.key}",
        f"Content-Type: {kind}",
        "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}",
        *([f"Content-Encoding: {encoding}"] if encoding else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def get_head(victim: Victim, path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {victim.host}", f"Authorization: Bearer {victim.key}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def new_id() -> str:
    return str(uuid.uuid4())


async def at_once(count: int, once: Callable[[], Awaitable[None]], *, pause_s: float = PAUSE_S) -> None:
    """Let ``count`` attackers do ``once`` again and again, whatever the daemon answers."""

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await once()
            await asyncio.sleep(pause_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())


async def together(runs: Iterable[Awaitable[None]]) -> None:
    """Carry out several attacks at once."""
    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(_awaited(run))


async def _awaited(run: Awaitable[None]) -> None:
    await run
