"""A daemon, one of the shipped proxies in front of it, and a visitor who calls from an address of its own."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.harness import DEADLINE_S, ROOT, running
from tests.http.api import Api, visiting
from tests.proxies.proxy_lab import Caddy, Nginx, Proxy, unavailable, visiting_proxy

# A newer Caddy than the distribution's, see the Makefile.
NEW_CADDY = ROOT / ".venv-caddy/bin/caddy"


KINDS = ("nginx", "caddy", "new caddy")
# A visitor's own address: what the proxy is called from.
VISITOR = "127.0.0.2"
HEAD_BYTES = 20_000


class Served(NamedTuple):
    """A daemon, a proxy in front of it, and a visitor of the proxy."""

    api: Api
    proxy: Proxy
    visitor: aiohttp.ClientSession

    async def post(self, recording_id: str, body: bytes, **headers: str) -> int:
        headers = {
            "Authorization": f"Bearer {self.api.key}",
            "Content-Type": "application/x-ndjson",
        } | headers
        url = f"{self.proxy.url}/recordings/{recording_id}/ingest"
        async with self.visitor.post(url, data=io.BytesIO(body), headers=headers) as reply:
            await reply.read()
            return reply.status

    async def open_socket(self, recording_id: str) -> aiohttp.ClientWebSocketResponse:
        """Open a socket that hears of each flush."""
        url = f"{self.proxy.url}/recordings/{recording_id}/ingest/ws?ack=true&token={self.api.key}"
        return await self.visitor.ws_connect(url)


async def send(socket: aiohttp.ClientWebSocketResponse, lines: list[bytes]) -> None:
    """Send each line as a message; return when all are acked."""
    for line in lines:
        await socket.send_str(line.decode())
    acked = 0
    while acked < len(lines):
        acked += (await socket.receive_json(timeout=DEADLINE_S))["successful_rows"]


def make_proxy(kind: str, directory: Path, upstream_port: int, *, speaks_tls: bool = True) -> Proxy:
    """Return the proxy of this kind. The test ends here if it isn't installed."""
    found = {
        "nginx": Nginx.find(),
        "caddy": shutil.which("caddy"),
        "new caddy": str(NEW_CADDY) if NEW_CADDY.exists() else None,
    }
    binary = found[kind]
    if binary is None:
        unavailable(f"{kind} isn't installed")
    assert binary is not None
    make = Nginx if kind == "nginx" else Caddy
    return make(binary, directory, upstream_port, speaks_tls=speaks_tls)


@contextlib.asynccontextmanager
async def serving(
    kind: str, directory: Path, *, idle_ms: int | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """Run a daemon with these settings, and a proxy of this kind in front of it.

    ``idle_ms`` takes the place of the proxy's own idle cut, where it has one.
    """
    async with running(directory / "data", **settings) as daemon, visiting(daemon) as api:
        proxy = make_proxy(kind, directory, daemon.port)
        proxy.idle_ms = idle_ms or proxy.idle_ms
        async with proxy.running(), visiting_proxy(VISITOR) as visitor:
            yield Served(api, proxy, visitor)
