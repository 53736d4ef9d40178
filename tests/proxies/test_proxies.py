"""nginx and Caddy, run with the shipped configuration in front of a daemon."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import orjson
import pytest

from rrd.http.services import Bounds, WatchBounds
from tests.harness import DEADLINE_S, ROOT, until
from tests.http.watchers import watching
from tests.ports import free_port
from tests.proxies.proxy_lab import Caddy, certificate, replaced
from tests.proxies.served import HEAD_BYTES, VISITOR, Served, make_proxy, send
from tests.samples import meta_event, ndjson, new_id, some_events


async def test_a_reload_with_a_changed_configuration_does_to_sockets_what_the_file_says(
    served: Served,
) -> None:
    """Either way nothing is lost that was acked, and a new socket works at once."""
    recording_id, lines = new_id(), some_events(40)
    socket = await served.open_socket(recording_id)
    await send(socket, lines[:20])
    await served.proxy.reload()
    if served.proxy.keeps_sockets:
        await send(socket, lines[20:30])
        await socket.close()
        assert socket.close_code == aiohttp.WSCloseCode.OK
    else:
        async with asyncio.timeout(DEADLINE_S):
            async for message in socket:  # The proxy closes both of its sides, and the summary may win.
                assert orjson.loads(message.data)["type"] == "upstream-result"
        assert socket.closed
        lines = [*lines[:20], *lines[30:]]
    other = await served.open_socket(recording_id)
    await send(other, lines[-10:])
    await other.close()
    assert await served.api.events(recording_id) == lines


async def test_large_bodies_and_long_heads_pass(served: Served) -> None:
    recording_id = new_id()
    lines = some_events(4, text="x" * 5_000_000)
    assert await served.post(recording_id, ndjson(lines), Cookie="c=" + "y" * HEAD_BYTES) == 200
    assert len(await served.api.events(recording_id)) == len(lines)


async def test_a_visitors_address_is_what_the_proxy_was_called_from(served: Served) -> None:
    """What the visitor says of it itself counts for nothing."""
    recording_id = new_id()
    body = ndjson([meta_event(1, includePii=True), *some_events(1)])
    assert await served.post(recording_id, body, **{"X-Forwarded-For": "203.0.113.9"}) == 200
    assert (await served.api.metadata(recording_id))["ipAddress"] == VISITOR


async def test_errors_reach_the_page_as_rrd_words_them(served: Served) -> None:
    headers = {"Origin": "https://shop.example", "Authorization": "Bearer wrong"}
    url = f"{served.proxy.url}/recordings/{new_id()}/ingest"
    async with served.visitor.post(url, data=b"{}", headers=headers) as reply:
        assert reply.status == 401
        assert (await reply.json())["error"]["code"] == "unauthenticated"
        assert reply.headers["Access-Control-Allow-Origin"] in {"*", "https://shop.example"}


async def test_the_shipped_file_is_valid(served: Served) -> None:
    done = served.proxy.check()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["caddy", "new caddy"])
def test_the_shipped_caddyfile_is_valid_as_it_is_and_says_which_versions_know_the_delay(
    kind: str, tmp_path: Path
) -> None:
    proxy = make_proxy(kind, tmp_path, 1)
    assert isinstance(proxy, Caddy)
    shipped = (ROOT / "config/Caddyfile").read_text()
    assert "2.7 and newer" in shipped
    assert proxy.judge(shipped).returncode == 0
    switched_on = proxy.judge(replaced(shipped, "# stream_close_delay", "stream_close_delay"))
    assert (switched_on.returncode == 0) is proxy.keeps_sockets, switched_on.stderr


async def test_no_proxy_writes_an_address_or_a_token_whatever_goes_wrong(
    served: Served, tmp_path: Path
) -> None:
    """Errors that a visitor can cause, and an upstream that is gone."""
    token, port = "secret_key_rr_told_to_no_log", served.proxy.port
    target = f"/recordings/{new_id()}/ingest?token={token}"
    heads = (
        f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n",
        f"GET {target} HTTP/1.1\r\nHost: x\r\nX: {'y' * 200_000}\r\n\r\n",
        f"GET {target}{'y' * 200_000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {target} HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        f"GET {target} NONSENSE\r\n\r\n",
    )

    async def provoke() -> None:
        for head in heads:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(VISITOR, 0), ssl=certificate().trusting()
            )
            writer.write(head.encode())
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.transport.abort()
        async with served.visitor.get(f"{served.proxy.url}{target}") as reply:
            await reply.read()

    await provoke()
    # No upstream: what it listened on is another's now.
    served.proxy.upstream_port = free_port()
    await served.proxy.break_upstream()
    await provoke()
    logs = {path: path.read_text(errors="replace") for path in tmp_path.glob("*.log")}  # noqa: ASYNC240
    assert logs
    for path, text in logs.items():
        assert token not in text, path
        assert VISITOR not in text, path


async def test_what_is_followed_arrives_as_it_comes(served: Served) -> None:
    """No proxy gathers it: the history at once, each event when it is stored, and pings."""
    daemon = served.api.daemon
    daemon.services.bounds = Bounds(watch=WatchBounds(ping_s=0.3))
    recording_id = new_id()
    assert await served.post(recording_id, ndjson(some_events(1))) == 200
    async with watching(
        served.proxy.url, recording_id, served.api.key, tls=certificate().trusting()
    ) as watcher:
        assert watcher.headers["Content-Type"] == "text/event-stream"
        assert await watcher.has(1) == [1]
        await until(lambda: len(watcher.parser.comments) >= 3, what="pings")
        for number in range(1, 4):
            assert (
                await served.post(recording_id, ndjson(some_events(1, start=1_800_000_000_000 + number)))
                == 200
            )
            assert (await watcher.has(1 + number))[-1] == 1 + number
    # The proxy passes on that its client is gone.
    await until(lambda: len(daemon.services.registry.followers) == 0, what="the watcher to leave")
