"""Row 15: ten thousand sockets that idle after one large event each. What does each hold?

The event is what a page's first snapshot often is, 240 KB, and the visitor reads from then on. A socket that
kept its last message would take ten times the memory of one that doesn't.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import Literal, NamedTuple

import zstandard

from bench import stage
from bench.attacks.link import Link, Victim, open_socket, raw_frame
from bench.daemon import daemon, rss_bytes
from bench.frames import CLOSE, OFFER_AS_CHROMIUM, PING, PONG, TEXT, FrameReader
from bench.load import raise_file_limit
from bench.result import Check, Options, Row
from bench.rows import run_alone

Kind = Literal["text", "permessage-deflate", "zstd"]
KINDS: tuple[Kind, ...] = ("text", "permessage-deflate", "zstd")

EVENT_BYTES = 240_000
SOCKET_KIB_MAX = 40.0
_AT_ONCE = 500
"""Sockets that send at the same time: the event of each is stored before the next sends."""
_ACK_TIMEOUT_S = 60.0


class Held(NamedTuple):
    """Memory above the idle process, a socket."""

    open_bytes: float
    """All are open, nothing sent yet."""
    idle_bytes: float
    """Each event is stored, and the sockets idle."""


def measure(options: Options) -> Row:
    """Measure each kind of message on a daemon of its own."""
    count = options.pick(10_000, 1000, 20)
    settle_s = options.pick(25, 21, 0)
    checks: list[Check] = []
    for kind in KINDS:
        with daemon(core=stage.server_core()) as target, stage.worker(stage.client_core()) as client:
            assert target.pid is not None
            victim = Victim(target.host, target.port, target.key)
            held = client.call(hold, victim, target.pid, kind, count, settle_s)
        bar = SOCKET_KIB_MAX if options.scale == "full" else None
        checks += [
            Check(f"a socket after its event, {kind}", held.idle_bytes / 1024, "KiB", bar, "at most"),
            Check(f"a socket before it, {kind}", held.open_bytes / 1024, "KiB"),
        ]
    return Row(15, f"{count:,} sockets that idle after an event of {EVENT_BYTES // 1000} KB each", checks)


def hold(victim: Victim, pid: int, kind: Kind, count: int, settle_s: float) -> Held:
    """Open sockets, send an event on each, let them idle, and return what each takes of the daemon."""
    raise_file_limit()
    return asyncio.run(_hold(victim, pid, kind, count, settle_s))


async def _hold(victim: Victim, pid: int, kind: Kind, count: int, settle_s: float) -> Held:
    before = rss_bytes(pid)
    query = "ack=true" + ("&contentEncoding=zstd" if kind == "zstd" else "")
    offer = OFFER_AS_CHROMIUM if kind == "permessage-deflate" else ""
    async with contextlib.AsyncExitStack() as stack:
        links = [
            await stack.enter_async_context(open_socket(victim, query=query, offer=offer))
            for _ in range(count)
        ]
        await asyncio.sleep(settle_s)
        opened = rss_bytes(pid)
        gate = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for number, link in enumerate(links):
                group.create_task(_send(link, message(kind, number), gate))
        await asyncio.sleep(settle_s)
        idle = rss_bytes(pid)
        async with asyncio.TaskGroup() as group:
            for link in links:
                group.create_task(_make_sure_it_is_open(link, gate))
    return Held((opened - before) / count, (idle - before) / count)


async def _send(link: Link, data: bytes, gate: asyncio.Semaphore) -> None:
    """Send a message and wait until it is stored. Raises ``RuntimeError`` if it isn't."""
    async with gate:
        await link.send(data)
        reader = FrameReader()
        async with asyncio.timeout(_ACK_TIMEOUT_S):
            while data := await link.reader.read(64 << 10):
                if any(
                    opcode == TEXT and b'"successful_rows":1' in text for opcode, text in reader.feed(data)
                ):
                    return
    raise RuntimeError("a socket was closed before its event was stored")


async def _make_sure_it_is_open(link: Link, gate: asyncio.Semaphore) -> None:
    """Raises ``RuntimeError`` if the daemon has closed the socket, or does so before it answers a ping."""
    async with gate:
        await link.send(raw_frame(b"", first=0x80 | PING))
        reader = FrameReader()
        async with asyncio.timeout(_ACK_TIMEOUT_S):
            while data := await link.reader.read(64 << 10):
                opcodes = [opcode for opcode, _ in reader.feed(data)]
                if CLOSE in opcodes:
                    break
                if PONG in opcodes:
                    return
    raise RuntimeError("an idle socket was closed")


def message(kind: Kind, number: int) -> bytes:
    """Return one event as a frame: text in words, so that it compresses as a page's does."""
    words = b"".join(b"<li class='item-%d'>%d</li>" % (number, word) for word in range(EVENT_BYTES // 20))
    text = b'{"type":2,"timestamp":%d,"data":"%s"}' % (number, words[:EVENT_BYTES])
    if kind == "text":
        return raw_frame(text, first=0x81)
    if kind == "zstd":
        return raw_frame(zstandard.ZstdCompressor(level=3).compress(text), first=0x82)
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    deflated = stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)
    return raw_frame(deflated.removesuffix(b"\x00\x00\xff\xff"), first=0xC1)


if __name__ == "__main__":
    run_alone(measure)
