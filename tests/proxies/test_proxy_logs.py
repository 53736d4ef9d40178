"""What the shipped proxies write down of visitors when something goes wrong: neither addresses nor keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import DEADLINE_S
from tests.proxies.proxy_lab import Proxy, certificate
from tests.proxies.served import KINDS, VISITOR, make_proxy

TOKEN = "public_key_rr_zzNotInAnyLog"
PATH = f"/recordings/zzNoRecording/ingest?token={TOKEN}"
HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nCookie: c={TOKEN}\r\n"
SOCKET_HEAD = HEAD + (
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
POST = f"POST {PATH} HTTP/1.1\r\n{HEAD}"

SENT = {
    "a request": f"GET {PATH} HTTP/1.1\r\n{HEAD}\r\n",
    "a body": f"{POST}Content-Length: 2\r\n\r\n{{}}",
    "a socket": f"GET {PATH} HTTP/1.1\r\n{SOCKET_HEAD}\r\n",
    "a body that breaks off": f"{POST}Content-Length: 99\r\n\r\nzz",
    "a bad chunk": f"{POST}Transfer-Encoding: chunked\r\n\r\nzz{TOKEN}\r\n",
    "a bad length": f"{POST}Content-Length: zz\r\n\r\n",
    "a length too large": f"{POST}Content-Length: 99999999999999999999999\r\n\r\n",
    "a bad header": f"GET {PATH} HTTP/1.1\r\n{HEAD}no colon {TOKEN}\r\n\r\n",
    "no host": f"GET {PATH} HTTP/1.1\r\nX: {TOKEN}\r\n\r\n",
    "another host": f"GET {PATH} HTTP/1.1\r\nHost: other.test\r\nX: {TOKEN}\r\n\r\n",
    "a head too large": f"GET {PATH} HTTP/1.1\r\n{HEAD}X: {TOKEN * 60_000}\r\n\r\n",
    "no HTTP": f"\x16\x03\x01{TOKEN}\r\n\r\n",
    "a path beyond the root": f"GET /../../{TOKEN}{PATH} HTTP/1.1\r\n{HEAD}\r\n",
    "half a head": f"GET {PATH} HTTP/1.1\r\nHost: rr",
}

INCOMPLETE = {"a body that breaks off", "half a head"}
"""What a proxy waits for the rest of: within TLS no half-closed connection would say that it is over."""

HELLO = b"\x16\x03\x01\x00\x85\x01\x00\x00\x81\x03\x03" + bytes(32)
"""The beginning of a handshake."""

ANSWERS = {
    "silent": b"",
    "hangs up in its head": b"HTTP/1.1 200 OK\r\nContent-",
    "speaks no HTTP": b"\x16\x03\x01 zz\r\n\r\n",
    "breaks off": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nzz",
    "has a head too large": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
}


class Upstream:
    """What stands in for the daemon: it answers each connection with ``answer``, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            head = await reader.read(1 << 16)
            is_check = b"/-/healthy" in head
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if is_check else self.answer)
            await writer.drain()
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    await upstream.start()
    yield upstream
    await upstream.stop()


async def _visit(proxy: Proxy, sent: bytes, *, waits: bool, in_tls: bool = True) -> None:
    """Send ``sent`` as the visitor; read what comes, or hang up at once."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", proxy.port, local_addr=(VISITOR, 0), ssl=certificate().trusting() if in_tls else None
    )
    with contextlib.suppress(ConnectionError):
        writer.write(sent)
        await writer.drain()
        if waits:
            if writer.can_write_eof():  # TLS has no half-closed connections.
                writer.write_eof()
            await reader.read(1 << 16)
    writer.close()


async def _provoke(proxy: Proxy) -> None:
    async with asyncio.timeout(3 * DEADLINE_S):
        for name, sent in SENT.items():
            for waits in (True, False):
                await _visit(proxy, sent.encode("latin-1"), waits=waits and name not in INCOMPLETE)
        # And what speaks no TLS, or breaks off its handshake.
        for sent in (SENT["a request"], SENT["no HTTP"], SENT["half a head"]):
            await _visit(proxy, sent.encode("latin-1"), waits=True, in_tls=False)
        for size in (1, 5, len(HELLO)):
            await _visit(proxy, HELLO[:size], waits=False, in_tls=False)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_log_of_a_proxy_holds_addresses_or_keys(
    kind: str, upstream: Upstream, tmp_path: Path
) -> None:
    proxy = make_proxy(kind, tmp_path, upstream.port)
    async with proxy.running():
        for answer in ANSWERS.values():
            upstream.answer = answer
            await _provoke(proxy)
        await upstream.stop()
        await _provoke(proxy)
    _check_logs(tmp_path)


def _check_logs(directory: Path) -> None:
    logs = {path: path.read_text("utf-8", "replace") for path in directory.rglob("*.log")}
    assert logs
    for path, text in logs.items():
        for trace in (VISITOR, "zzNo", "token="):
            assert trace not in text, (path, [line for line in text.splitlines() if trace in line][:3])
