"""Memory is let go at once: with a body that fails buffers and windows, with a stored event all of it.

No collection of garbage is waited for.
"""

from __future__ import annotations

import gc
import gzip
import random
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import zstandard

from rrd.wire.decoder import Decoder
from tests.harness import LocalDaemon, running, until
from tests.http.api import Api, visiting
from tests.http.raw_client import BINARY, TEXT, Socket
from tests.samples import an_event, new_id

pytestmark = pytest.mark.table

KIB, MIB = 1 << 10, 1 << 20
EVENT = b'{"type":3,"timestamp":1}\n'


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    async with running(tmp_path) as local:
        yield local


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(type(thing) is Decoder for thing in gc.get_objects())


BODIES = {
    "too dense": ("zstd", zstandard.compress(b"\n" * 64 * MIB)),
    "damaged": ("gzip", gzip.compress(EVENT * 100)[:-8] + bytes(8)),
    "cut off": ("gzip", gzip.compress(EVENT * 100)[:-8]),
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_fails(api: Api, body: str, no_collection: None) -> None:
    encoding, data = BODIES[body]
    before = alive()
    for _ in range(3):
        reply = await api.post(new_id(), data, encoding=encoding)
        assert reply.status >= 400
    await until(lambda: alive() <= before, what="all decoders to be let go")


def deflated(plain: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(plain) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


MESSAGES = {
    "too dense": deflated(bytes(64 * MIB)),
    "damaged": deflated(random.Random(1).randbytes(2 * MIB)) + bytes([0xFF] * 8),
}


@pytest.mark.parametrize("message", MESSAGES)
async def test_a_message_that_fails_in_a_thread(api: Api, message: str, no_collection: None) -> None:
    payload = MESSAGES[message]

    async def fail() -> None:
        socket = await api.socket(new_id(), deflate=True)
        socket.frame(TEXT, payload, compressed=True)
        assert (await socket.farewell()).code == 1011

    await fail()  # What is made once is made.
    tracemalloc.start()
    try:
        for _ in range(6):
            await fail()
        await until(lambda: tracemalloc.get_traced_memory()[0] < 2 * MIB, what="messages to be let go")
    finally:
        tracemalloc.stop()


SOCKETS = 30
EVENT_BYTES = 240_000
HELD_BYTES_MAX = 16 * KIB
"""Of a socket: a fifteenth of its event, and for all of them room for what is made once meanwhile."""


@pytest.mark.parametrize("kind", ["text", "zstd", "permessage-deflate"])
async def test_a_socket_that_idles_after_its_event(daemon: LocalDaemon, api: Api, kind: str) -> None:
    words = "".join(f"<li class='item-{number}'>{number}</li>" for number in range(EVENT_BYTES // 20))
    event = an_event(1, text=words[:EVENT_BYTES])
    message, opcode = event, TEXT
    query = {"ack": "true"}
    if kind == "zstd":
        message, opcode = zstandard.compress(event), BINARY
        query["contentEncoding"] = "zstd"
    elif kind == "permessage-deflate":
        message = deflated(event)
    is_deflated = kind == "permessage-deflate"
    sockets = [
        await api.socket(new_id(), deflate=is_deflated, headers=None, **query) for _ in range(1 + SOCKETS)
    ]

    async def send_all(some: list[Socket]) -> None:
        for socket in some:
            socket.frame(opcode, message, compressed=is_deflated)
        for socket in some:
            assert (await socket.next_json())["successful_rows"] == 1
        for _ in range(2):
            await daemon.services.streams.sweep()
        await until(lambda: daemon.services.unfinished.held_bytes == 0, what="nothing to be counted")

    await send_all(sockets[:1])  # What is made once, for all of them, is made.
    gc.collect()
    tracemalloc.start()
    try:
        await send_all(sockets[1:])
        bytes_max = SOCKETS * HELD_BYTES_MAX
        try:
            await until(lambda: tracemalloc.get_traced_memory()[0] < bytes_max, what="all to be let go")
        except TimeoutError:
            held = tracemalloc.take_snapshot().statistics("lineno")
            pytest.fail("held:\n" + "\n".join(map(str, held[:10])))
    finally:
        tracemalloc.stop()
