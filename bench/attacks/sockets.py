"""WebSockets: messages that are dear to decode, unfinished ones, tiny frames, and sockets that idle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bench.attacks.link import JSON, NDJSON, Attack, Victim, at_once, open_socket, raw_frame
from bench.attacks.texts import (
    KIB,
    MIB,
    brackets,
    deflated_event,
    event_of,
    gzip_run_together,
    run_together,
    zstd_of,
)
from bench.frames import OFFER_AS_CHROMIUM

_FIN, _RSV1 = 0x80, 0x40
_CONTINUATION, _TEXT, _BINARY, _PING = 0x0, 0x1, 0x2, 0x9
_PIECE_BYTES = 256 * KIB
_OPEN_TIMEOUT_S = 10.0

Run = Callable[[Victim], Awaitable[None]]


def _message(make: Callable[[], bytes], *, encoding: str = "", kind: str = NDJSON) -> Run:
    """Send a message on a new socket, again and again, three at a time."""

    async def run(victim: Victim) -> None:
        opcode = _BINARY if encoding else _TEXT
        data = raw_frame(make(), first=_FIN | opcode)
        query = f"contentType={kind}" + (f"&contentEncoding={encoding}" if encoding else "")

        async def once() -> None:
            async with open_socket(victim, query=query) as connection:
                await connection.send(data + raw_frame((1000).to_bytes(2, "big"), first=_FIN | 0x8))
                await connection.gone()

        await at_once(3, once)

    return run


async def half_sent(victim: Victim) -> None:
    """57 MiB of an unfinished text message on each of 75 sockets."""
    text = event_of(57 * MIB)

    async def once() -> None:
        async with open_socket(victim) as connection:
            await connection.send(raw_frame(text, first=_FIN | _TEXT, says_bytes=60 * MIB))
            await connection.gone()

    await at_once(75, once, pause_s=1.0)


async def half_sent_fragments(victim: Victim) -> None:
    """The same in fragments."""
    text = event_of(57 * MIB)
    pieces = [text[at : at + _PIECE_BYTES] for at in range(0, len(text), _PIECE_BYTES)]

    async def once() -> None:
        async with open_socket(victim) as connection:
            for number, piece in enumerate(pieces):
                await connection.send(raw_frame(piece, first=_CONTINUATION if number else _TEXT))
            await connection.gone()

    await at_once(75, once, pause_s=1.0)


def _deflated(count: int) -> Run:
    """A message of 61 KB that inflates to 60 MiB on each of ``count`` sockets, which idle then."""

    async def run(victim: Victim) -> None:
        data = raw_frame(deflated_event(60 * MIB), first=_FIN | _RSV1 | _TEXT)
        opened, all_open = 0, asyncio.Event()

        async def once() -> None:
            nonlocal opened
            async with open_socket(victim, offer=OFFER_AS_CHROMIUM) as connection:
                opened += 1
                if opened >= count:
                    all_open.set()
                async with asyncio.timeout(_OPEN_TIMEOUT_S):
                    await all_open.wait()
                await connection.send(data)
                await connection.gone()

        await at_once(count, once, pause_s=1.0)

    return run


def _unpaced(data: bytes, *, sockets: int = 1) -> Run:
    """Send the same bytes as fast as they are taken."""

    async def run(victim: Victim) -> None:
        async def once() -> None:
            async with open_socket(victim) as connection:
                gone = asyncio.ensure_future(connection.gone())
                try:
                    while not gone.done():
                        await connection.send(data)
                finally:
                    gone.cancel()

        await at_once(sockets, once)

    return run


async def every_socket(victim: Victim) -> None:
    """One key opens 3,000 sockets, or as many as the daemon takes, and keeps them."""

    async def once() -> None:
        async with open_socket(victim) as connection:
            await connection.gone()

    await at_once(SOCKETS_TRIED, once, pause_s=1.0)


SOCKETS_TRIED = 3000
"""For a daemon whose ``sockets_max`` is less."""

_EMPTY_TEXTS = raw_frame(b"", first=_FIN | _TEXT) * 40_000
_TINY_TEXTS = raw_frame(b"{}", first=_FIN | _TEXT) * 30_000
_PINGS = raw_frame(b"", first=_FIN | _PING) * 40_000
_EMPTY_FRAGMENTS = raw_frame(b"", first=_CONTINUATION) * 40_000

SOCKETS = {
    "socket-zstd-blank": Attack(
        "64 MiB of blank lines in a message of 2 KB of zstd",
        _message(lambda: zstd_of(b"\n", 64 * MIB), encoding="zstd"),
    ),
    "socket-zstd-blank-32": Attack(
        "32 MiB of blank lines in a message of 1 KB of zstd",
        _message(lambda: zstd_of(b"\n", 32 * MIB), encoding="zstd"),
    ),
    "socket-brackets": Attack(
        "56 KB of objects that never close, as JSON", _message(lambda: brackets(8000), kind=JSON)
    ),
    "socket-run-together": Attack("1 MB of values on one line", _message(lambda: run_together(MIB))),
    "socket-gzip-run-together": Attack(
        "20 MiB of values on one line in 20 KB of gzip",
        _message(lambda: gzip_run_together(20 * MIB), encoding="gzip"),
    ),
    "socket-half-sent": Attack("57 MiB of an unfinished message on 75 sockets", half_sent),
    "socket-half-sent-fragments": Attack(
        "57 MiB of an unfinished message in fragments on 75 sockets", half_sent_fragments
    ),
    "socket-deflate-at-once": Attack("60 messages of 61 KB at once that inflate to 60 MiB", _deflated(60)),
    "socket-deflate-idle": Attack(
        "40 sockets that idle after a message that inflated to 60 MiB", _deflated(40)
    ),
    "socket-empty-texts": Attack("empty messages, unpaced", _unpaced(_EMPTY_TEXTS)),
    "socket-tiny-texts": Attack("messages of two bytes, unpaced", _unpaced(_TINY_TEXTS)),
    "socket-pings": Attack("pings, unpaced", _unpaced(_PINGS)),
    "socket-empty-fragments": Attack(
        "empty fragments, unpaced", _unpaced(raw_frame(b"", first=_TEXT) + _EMPTY_FRAGMENTS)
    ),
    "socket-all": Attack("one key opens 3,000 sockets and keeps them", every_socket),
}
