"""Floods: of recordings, connections, slow heads and requests that are refused."""

from __future__ import annotations

import asyncio
import json
import os

from bench.attacks.link import Attack, Victim, at_once, get_head, link, new_id, post_head
from bench.attacks.texts import EVENT
from bench.frames import handshake

_HEADS = 2000
_CONNECTIONS = 50


async def new_recordings(victim: Victim) -> None:
    """A recording with each request, as fast as they are answered, over connections that are kept."""

    async def once() -> None:
        async with link(victim) as connection:
            while True:
                await connection.send(post_head(victim, len(EVENT)) + EVENT)
                head = await connection.reader.readuntil(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                await connection.reader.readexactly(size)

    await at_once(16, once)


async def slow_heads(victim: Victim) -> None:
    """Connections that send a byte of their head each few seconds."""

    async def once() -> None:
        async with link(victim) as connection:
            gone = asyncio.ensure_future(connection.gone())
            try:
                await connection.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 16_000)
                while not gone.done():
                    await connection.send(b"x")
                    await asyncio.wait([gone], timeout=3)
            finally:
                gone.cancel()

    await at_once(_HEADS, once, pause_s=1.0)


async def bad_handshakes(victim: Victim) -> None:
    """Handshakes with a subprotocol, a key that nobody made, and as much text as fits: for the log."""
    text = os.urandom(8000).hex()
    headers = f"Sec-WebSocket-Protocol: {text}\r\nAuthorization: Bearer {text[:64]}\r\n"

    async def once() -> None:
        async with link(victim) as connection:
            await connection.send(
                handshake(victim.host, f"/recordings/{new_id()}/ingest/ws", headers=headers)
                + b"\x00\xff no head \r\n\r\n"
            )
            await connection.gone()

    await at_once(_CONNECTIONS, once, pause_s=0)


async def churn(victim: Victim) -> None:
    """Connections that come and go, with a request or without."""
    request = get_head(victim, "/-/ready")

    async def once() -> None:
        async with link(victim):
            pass
        async with link(victim) as connection:
            await connection.send(request)
            await connection.status()

    await at_once(_CONNECTIONS, once, pause_s=0)


async def filters(victim: Victim) -> None:
    """Lists by as many filters as a head may hold."""
    query = "&".join(f"meta%5Bk{number}%5D={number}" for number in range(1500))

    async def once() -> None:
        async with link(victim) as connection:
            await connection.send(get_head(victim, f"/recordings?{query}"))
            await connection.status()

    await at_once(8, once, pause_s=0)


async def many_pairs(victim: Victim) -> None:
    """Metadata of a million pairs."""
    payload = {f"k{number}": number for number in range(400_000)}
    body = json.dumps(
        {"type": 5, "timestamp": 1, "data": {"tag": "recording-meta", "payload": payload}}
    ).encode()

    async def once() -> None:
        async with link(victim) as connection:
            await connection.send(post_head(victim, len(body)) + body)
            await connection.status()

    await at_once(2, once)


FLOODS = {
    "new-recordings": Attack("a new recording with each request, 16 at a time", new_recordings),
    "slow-heads": Attack("2,000 heads of 16 KB that never end", slow_heads),
    "bad-handshakes": Attack("handshakes that are refused, for the log", bad_handshakes),
    "churn": Attack("connections that come and go", churn),
    "filters": Attack("lists by 1,500 filters", filters),
    "many-pairs": Attack("metadata of 400,000 pairs", many_pairs),
}
