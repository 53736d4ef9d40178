"""What the shipped proxies let through, what they keep, and what they say while rrd is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.harness import DEADLINE_S, eventually
from tests.ports import free_port
from tests.proxies.proxy_lab import Nginx, certificate
from tests.proxies.served import KINDS, Served, serving
from tests.samples import ndjson, new_id, some_events

ORIGIN = "https://shop.example"
BODY_BYTES = 50_000_000
PING_INTERVAL_S = 1
IDLE_MS = 2_400
"""As the shipped 60 s are to the 25 s after which rrd pings."""


async def test_only_that_rrd_runs_is_seen_from_outside(served: Served) -> None:
    seen = {}
    for path in (
        "/-/healthy",
        "/-/ready",
        "/-/",
        "/-/anything",
        "/%2D/ready",
        "//-/ready",
        "/-/healthy/../ready",
    ):
        async with served.visitor.get(served.proxy.url + path, allow_redirects=False) as reply:
            seen[path] = reply.status
            assert "ready" not in (await reply.text())
    assert seen.pop("/-/healthy") == 200
    assert set(seen.values()) <= {400, 404}, seen


async def test_browsers_are_told_to_use_tls_alone_from_then_on(served: Served) -> None:
    for path in ("/-/healthy", "/-/ready", "/recordings"):
        async with served.visitor.get(served.proxy.url + path) as reply:
            assert reply.headers.getall("Strict-Transport-Security") == ["max-age=31536000"]


async def without_rrd(served: Served) -> None:
    """Have rrd be down for all connections that are made from now on."""
    served.proxy.upstream_port = free_port()
    await served.proxy.break_upstream()

    async def all_miss_it() -> bool | None:
        # A reload's old worker takes a last connection, perhaps.
        return {await _status(served.visitor.get(served.proxy.url + "/record.js")) for _ in range(5)} == {502}

    await eventually(all_miss_it, what="rrd to be missed")


async def test_while_rrd_is_down_a_page_can_read_the_error(served: Served) -> None:
    await without_rrd(served)
    url = f"{served.proxy.url}/recordings/{new_id()}/ingest"
    for headers, allowed in (({"Origin": ORIGIN}, {ORIGIN}), ({}, {None, "*"})):
        async with served.visitor.post(url, data=b"{}", headers=headers) as reply:
            assert reply.status == 502
            assert (await reply.json())["error"]["code"] == "away"
            assert reply.headers.get("Access-Control-Allow-Origin") in allowed
            assert reply.headers["Cache-Control"] == "no-store"
            assert len(reply.headers.getall("Content-Type")) == 1
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await served.open_socket(new_id())
    assert refused.value.status == 502


async def test_a_large_body_goes_through_as_it_comes(served: Served) -> None:
    """Its beginning is stored and read before its end is sent."""
    recording_id = new_id()
    first, *rest = some_events(6, text="x" * (BODY_BYTES // 5))
    beginning = some_events(1, text="y" * 300_000)  # More than a batch: it is stored without a wait.
    was_read = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield ndjson(beginning)
        yield first[:100_000]
        await asyncio.wait_for(was_read.wait(), DEADLINE_S)
        yield first[100_000:] + b"\n" + ndjson(rest)

    async def read() -> bool | None:
        path = f"{served.api.daemon.url}/recordings/{recording_id}/events"
        headers = {"Authorization": f"Bearer {served.api.key}"}
        async with aiohttp.ClientSession() as session, session.get(path, headers=headers) as reply:
            return (reply.status == 200 and len(await reply.json()) == 1) or None

    headers = {"Authorization": f"Bearer {served.api.key}", "Content-Type": "application/x-ndjson"}
    url = f"{served.proxy.url}/recordings/{recording_id}/ingest"
    posting = asyncio.create_task(_status(served.visitor.post(url, data=body(), headers=headers)))
    await eventually(read, what="the beginning to be stored")
    assert not posting.done()
    was_read.set()
    assert await posting == 200
    assert sum(map(len, await served.api.events(recording_id))) > BODY_BYTES


async def _status(asked: aiohttp.client._RequestContextManager) -> int:
    async with asked as reply:
        await reply.read()
        return reply.status


async def _pings(socket: aiohttp.ClientWebSocketResponse, count: int) -> None:
    for _ in range(count):
        message = await socket.receive(timeout=DEADLINE_S)
        assert message.type == aiohttp.WSMsgType.PING, message
        await socket.pong(message.data)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_silent_socket_outlives_the_proxys_idle_cut(kind: str, tmp_path: Path) -> None:
    """The cut and the pings are 25 times as short as shipped. Three cuts long only pings go through."""
    async with serving(kind, tmp_path, idle_ms=IDLE_MS, ping_interval_s=PING_INTERVAL_S) as served:
        recording_id = new_id()
        url = f"{served.proxy.url}/recordings/{recording_id}/ingest/ws?ack=true&token={served.api.key}"
        async with served.visitor.ws_connect(url, autoping=False) as socket:
            await _pings(socket, 3 * IDLE_MS // (1000 * PING_INTERVAL_S) + 1)
            (line,) = some_events(1)
            await socket.send_str(line.decode())
            while (message := await socket.receive(timeout=DEADLINE_S)).type != aiohttp.WSMsgType.TEXT:
                await socket.pong(message.data)
            assert message.json()["successful_rows"] == 1
        assert await served.api.events(recording_id) == [line]


async def test_without_pings_nginx_cuts_a_silent_socket(tmp_path: Path) -> None:
    """What the test above would not notice if the cut had not been there."""
    async with serving("nginx", tmp_path, idle_ms=300) as served:
        socket = await served.open_socket(new_id())
        message = await socket.receive(timeout=DEADLINE_S)
        assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}


async def test_plain_http_leads_to_tls(tmp_path: Path) -> None:
    async with serving("nginx", tmp_path) as served:
        assert isinstance(served.proxy, Nginx)
        url = f"http://localhost:{served.proxy.plain_port}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/record.js?v=1", allow_redirects=False) as reply:
                assert (reply.status, reply.headers["Location"]) == (308, "https://localhost/record.js?v=1")
            async with session.get(f"{url}/.well-known/acme-challenge/none", allow_redirects=False) as reply:
                assert reply.status == 404


async def test_the_certificate_is_asked_for(served: Served) -> None:
    """The tests' clients believe one certificate, and would not go on with another."""
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.get(served.proxy.url)
    assert certificate().trusting().check_hostname
