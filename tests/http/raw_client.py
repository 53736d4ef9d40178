"""A WebSocket and HTTP client that hides nothing: frames, close codes and broken connections as they are.

Ready-made clients swallow what a server says between the client's close and its own, and never just hang
up in the middle of a body. Framing after RFC 6455, compression after RFC 7692.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket as sockets
import zlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.harness import until

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_TIMEOUT_S = 20.0


class RawReply(NamedTuple):
    """An HTTP reply as it came; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """The upgrade was answered with something other than 101."""

    def __init__(self, reply: RawReply) -> None:
        super().__init__(f"{reply.status}: {reply.body!r}")
        self.reply = reply


class Message(NamedTuple):
    opcode: int
    data: bytes


class Farewell(NamedTuple):
    """What a server said until it closed, and how it closed. Code 1006: the connection just ended."""

    messages: list[str]
    code: int
    reason: str

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.messages[-1])
        return found


class Connection:
    """One TCP connection that speaks HTTP/1.1, however badly it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 26))

    def send_head(self, method: str, target: str, headers: dict[str, str]) -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: rrd.test"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    async def reply(self, *, method: str = "GET") -> RawReply:
        """Read one reply."""
        async with asyncio.timeout(_TIMEOUT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
            }
            status = int(head[0].split()[1])
            if headers.get("transfer-encoding") == "chunked":
                return RawReply(status, headers, await self._chunked())
            size = int(headers.get("content-length", 0)) if method != "HEAD" and status != 101 else 0
            return RawReply(status, headers, await self.reader.readexactly(size))

    async def _chunked(self) -> bytes:
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)

    async def drop(self) -> None:
        """Hang up without a word, once the kernel has everything."""
        transport = self.writer.transport
        await until(lambda: not transport.get_write_buffer_size(), what="the kernel to take it")
        self.writer.transport.abort()
        await self._closed()

    async def hang_up(self) -> None:
        """Close our side; nothing if it is closed."""
        self.writer.close()
        await self._closed()

    async def _closed(self) -> None:
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


class Socket(Connection):
    """A WebSocket after its handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.headers: dict[str, str] = {}
        self.pings = 0
        self._deflate: Any = None
        self._inflate: Any = None

    @classmethod
    async def upgrade(
        cls, url: str, *, headers: dict[str, str] | None = None, deflate: bool = False
    ) -> Socket:
        """Open a socket. Raises ``Refused``."""
        parts = urlsplit(url)
        socket = cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 26))
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate"} if deflate else {}
        socket.send_head(
            "GET",
            f"{parts.path}?{parts.query}",
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
                **offer,
                **(headers or {}),
            },
        )
        reply = await socket.reply()
        if reply.status != 101:
            await socket.hang_up()
            raise Refused(reply)
        socket.headers = reply.headers
        if "permessage-deflate" in reply.headers.get("sec-websocket-extensions", ""):
            socket._deflate = zlib.compressobj(wbits=-15)
            socket._inflate = zlib.decompressobj(wbits=-15)
        return socket

    def frame(self, opcode: int, data: bytes, *, final: bool = True, compressed: bool = False) -> None:
        """Send one frame with a real mask."""
        first = (0x80 if final else 0) | (0x40 if compressed else 0) | opcode
        size = len(data)
        if size < 126:
            head = bytes([first, 0x80 | size])
        elif size < 1 << 16:
            head = bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([first, 0x80 | 127]) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        pad = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
        self.writer.write(head + mask + masked)

    async def send(self, opcode: int, data: bytes) -> None:
        """Send one message, compressed if that was agreed."""
        if self._deflate is None:
            self.frame(opcode, data)
        else:
            packed = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            self.frame(opcode, packed[:-4], compressed=True)
        await self.writer.drain()

    async def send_text(self, *messages: bytes) -> None:
        for message in messages:
            await self.send(TEXT, message)

    async def send_binary(self, *messages: bytes) -> None:
        for message in messages:
            await self.send(BINARY, message)

    async def receive(self) -> Message:
        """Return the next message, close included; pings are answered. A lost connection is code 1006."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                while True:
                    message = await self._next()
                    if message.opcode == PING:
                        self.pings += 1
                        self.frame(PONG, message.data)
                    elif message.opcode != PONG:
                        return message
        except (asyncio.IncompleteReadError, ConnectionError):
            return Message(CLOSE, (1006).to_bytes(2, "big"))

    async def next_json(self) -> dict[str, Any]:
        """Return the next text message, which must be one JSON text."""
        message = await self.receive()
        assert message.opcode == TEXT, message
        found: dict[str, Any] = json.loads(message.data)
        return found

    async def next_ping(self) -> None:
        async with asyncio.timeout(_TIMEOUT_S):
            while (message := await self._next()).opcode != PING:
                assert message.opcode == PONG, message
            self.frame(PONG, message.data)

    async def farewell(self) -> Farewell:
        """Take in everything until the server's close, answer that, and hang up."""
        messages: list[str] = []
        while (message := await self.receive()).opcode != CLOSE:
            messages.append(message.data.decode())
        code = int.from_bytes(message.data[:2], "big") if message.data else 1005
        if code != 1006:
            self.frame(CLOSE, message.data[:2])
        await self.hang_up()
        return Farewell(messages, code, message.data[2:].decode())

    async def finish(self) -> Farewell:
        """Close with 1000, and take in what the server still says."""
        self.frame(CLOSE, (1000).to_bytes(2, "big"))
        return await self.farewell()

    async def _next(self) -> Message:
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        data = await self.reader.readexactly(size)
        if first & 0x40:
            data = self._inflate.decompress(data + b"\x00\x00\xff\xff")
        assert first & 0x80, "the server sends no fragments"
        return Message(first & 0x0F, data)


@contextlib.asynccontextmanager
async def untaken(port: int, key: str, target: str, count: int) -> AsyncIterator[list[Connection]]:
    """Ask so many times with small windows, and take nothing of the answers until the block ends."""
    connections = []
    try:
        for _ in range(count):
            plain = sockets.socket()
            plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
            connection = Connection(*await asyncio.open_connection(sock=plain, limit=1024))
            connection.send_head("GET", target, {"Authorization": f"Bearer {key}"})
            connections.append(connection)
        yield connections
    finally:
        for connection in connections:
            connection.writer.transport.abort()
