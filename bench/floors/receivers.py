"""Bare aiohttp servers that discard what they are sent.

They run on uvloop, with the daemon's settings of the garbage collector, so that what differs is what is done
with a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

import aiohttp
import uvloop
from aiohttp import web
from isal import isal_zlib

from bench.stage import Server, server, server_core
from rrd.config import Config
from rrd.daemon.run import GC_THRESHOLDS

Inflater = Literal["isal", "zlib"]

_MESSAGE_BYTES_MAX = Config().message_bytes_max


async def _async_for(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(max_msg_size=_MESSAGE_BYTES_MAX)
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


async def _receive(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse(max_msg_size=_MESSAGE_BYTES_MAX, decode_text=False)
    await ws.prepare(request)
    text, binary = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY
    while True:
        # By identity: comparing or hashing members of an enumeration would be a good part of the work here.
        kind = (await ws.receive()).type
        if kind is not text and kind is not binary:
            return ws


async def _discard_body(request: web.Request) -> web.Response:
    body = request.content
    while await body.readany():
        pass
    return web.Response(status=204)


ASYNC_FOR, RECEIVE, POST = "/async-for", "/receive", "/post"
"""Paths: ``async for message in socket: pass``, as one writes it; ``await socket.receive()`` in a loop
without the check of UTF-8, the least that aiohttp can do; and a body read as it comes, still compressed."""


async def _serve(announce: Callable[[int], None]) -> None:
    app = web.Application()
    app.router.add_get(ASYNC_FOR, _async_for)
    app.router.add_get(RECEIVE, _receive)
    app.router.add_post(POST, _discard_body)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


def _run(inflater: Inflater, announce: Callable[[int], None]) -> None:
    aiohttp.set_zlib_backend(isal_zlib if inflater == "isal" else zlib)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(_serve(announce))


@contextlib.contextmanager
def receiver(*, inflater: Inflater = "isal") -> Iterator[Server]:
    """Run a receiver with all the paths above on the servers' core.

    ``inflater`` is what permessage-deflate is inflated with: ISA-L is the faster one for large messages, zlib
    for small ones.
    """
    with server(functools.partial(_run, inflater), server_core()) as running:
        yield running
