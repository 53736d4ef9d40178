"""A TCP proxy that damages what passes, for tests of what a network does to requests.

``fault`` says how, and holds until it is set to None; it counts for connections that are open as well. Data
that are to be flipped hold ``MARK`` somewhere. ``heads`` has the head of each request that came.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

MARK = b"\xaa" * 64
_METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")
_ETAG = re.compile(rb'(etag: ")([0-9a-f]{32})(")', re.IGNORECASE)


class FlipUp(NamedTuple):
    """One bit of a request's body is flipped."""


class Drop(NamedTuple):
    """The connection ends after so many bytes of a request, or of answers (``is_up`` False)."""

    is_up: bool
    after: int


class Answer(NamedTuple):
    """Requests are answered with this status and S3 error code, and don't reach the server."""

    status: int
    code: str


class Silence(NamedTuple):
    """Requests are taken, and nothing happens."""


class LostAnswers(NamedTuple):
    """Requests are carried out, and the connection ends instead of an answer."""


class OddETags(NamedTuple):
    """ETags look like MD5s and are none, as of servers that encrypt."""


Fault = FlipUp | Drop | Answer | Silence | LostAnswers | OddETags


class Proxy:
    """To ``port`` of 127.0.0.1, at ``endpoint``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.endpoint = ""
        self.fault: Fault | None = None
        self.heads: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return
        ways = (
            asyncio.create_task(self._up(reader, up_writer, writer)),
            asyncio.create_task(self._down(up_reader, writer)),
        )
        try:
            # When one way ends, so does the other.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up_writer.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        seen = 0
        while chunk := await reader.read(65_536):
            if chunk.startswith(_METHODS):
                self.heads.append(chunk.partition(b"\r\n\r\n")[0])
                seen = 0
            seen += len(chunk)
            match self.fault:
                case Silence():
                    await asyncio.Event().wait()
                case Answer(status, code):
                    body = (
                        f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
                    )
                    head = (
                        f"HTTP/1.1 {status} Told\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                    )
                    back.write(head.encode() + (b"" if chunk.startswith(b"HEAD ") else body))
                    await back.drain()
                    back.close()
                    return
                case Drop(True, after) if seen > after:
                    return
                case FlipUp():
                    chunk = chunk.replace(MARK, MARK[:-1] + b"\xab", 1)
            writer.write(chunk)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = 0
        while chunk := await reader.read(65_536):
            seen += len(chunk)
            match self.fault:
                case Drop(False, after) if seen > after:
                    return
                case LostAnswers() if b" 100 " not in chunk[:20]:
                    return
                case OddETags():
                    chunk = _ETAG.sub(rb"\g<1>00112233445566778899aabbccddeeff\3", chunk)
            writer.write(chunk)
            await writer.drain()


@contextlib.asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """Serve a proxy to ``port`` until the block ends."""
    between = Proxy(port)
    listener = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    between.endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield between
    finally:
        listener.close()
        tasks = list(between.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
