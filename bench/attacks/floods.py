"""Floods: of recordings, connections, slow heads and requests that are refused."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os

from bench.attacks.link import Attack, Victim, at_once, get_head, link, new_id, post_head, raw_frame
from bench.attacks.texts import EVENT
from bench.frames import handshake

_HEADS = 2000
_CONNECTIONS = 50
_PATIENCE_S = 0.5
_TEXT, _RESERVED = 0x81, 0xF3
"""First bytes of a frame: a text message, and one with all that is reserved (RFC 6455, 5.2)."""


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


async def bad_requests(victim: Victim) -> None:
    """What is refused, below HTTP and above, with as much text as fits: for the log."""
    text = os.urandom(8000).hex()
    path = f"/recordings/{new_id()}/ingest"
    stranger = f"Sec-WebSocket-Protocol: {text}\r\nAuthorization: Bearer {text[:64]}\r\n"
    known = f"Sec-WebSocket-Protocol: {text}\r\nAuthorization: Bearer {victim.key}\r\n"
    requests = [
        handshake(victim.host, f"{path}/ws", headers=stranger),
        handshake(victim.host, f"{path}/ws", headers=known) + raw_frame(text.encode(), first=_RESERVED),
        handshake(victim.host, f"{path}/ws", headers=known) + raw_frame(b"", first=_TEXT, says_bytes=1 << 62),
        b"\x00\xff no head \r\n\r\n",
        f"{text[:200]} / HTTP/1.1\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: x\r\nX: {text}{text}{text}\r\n\r\n".encode(),
        f"GET /{text} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        f"POST {path}?token={text[:100]} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".encode(),
        post_head(victim, None) + b"zz\r\n" + text.encode(),
        post_head(victim, 10**6, encoding="gzip") + text.encode(),
        post_head(victim, 10**6) + b"{",
    ]
    turn = itertools.cycle(requests)

    async def once() -> None:
        async with link(victim) as connection:
            await connection.send(next(turn))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
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
    "bad-requests": Attack("requests and handshakes that are refused, for the log", bad_requests),
    "churn": Attack("connections that come and go", churn),
    "filters": Attack("lists by 1,500 filters", filters),
    "many-pairs": Attack("metadata of 400,000 pairs", many_pairs),
}
