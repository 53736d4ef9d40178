"""The load process of ``bench.sockets``: many sockets on one event loop, events sent on schedule.

It takes orders over a pipe, so that the other side can look at the daemon between them: it opens all
sockets and says how many it got, sends when told, closes when told, and hands over an ``Outcome``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import time
import uuid
from array import array
from multiprocessing.connection import Connection
from typing import NamedTuple, cast

import uvloop

from bench.corpus import small_events
from bench.daemon import Daemon
from bench.frames import CLOSE, PING, PONG, TEXT, FrameReader, frame, handshake

ADDRESS_SOCKETS_MAX = 10_000
"""Sockets from one source address: the kernel has some 28,000 ports for each by default."""

_CONNECTING_MAX = 200
_CONNECT_TIMEOUT_S = 30.0
_LAST_ACKS_TIMEOUT_S = 10.0
_GOODBYE_TIMEOUT_S = 60.0

_ROWS = re.compile(rb'"successful_rows":(\d+)')
_TIMESTAMP = re.compile(rb'("timestamp":)[\d.]+')


class Outcome(NamedTuple):
    """What the load process tells in the end."""

    latencies_s: array[float]
    sent: list[int]
    """Events sent, socket by socket."""
    acked: list[int]
    """Events that the final summary counts."""
    problems: list[str]
    late_s: float
    """The greatest delay from the moment when an event was meant to be sent until it was."""
    cpu_s: float
    """Processor time of the load process while it sent."""


def recording_id(run: str, number: int) -> str:
    return str(uuid.uuid5(uuid.UUID(run), str(number)))


def make_event(templates: list[bytes], number: int, count: int, start_ms: int) -> bytes:
    """Return event ``count`` of a socket: one of the corpus, with a timestamp unique on its socket."""
    template = templates[(number * 7 + count) % len(templates)]
    return _TIMESTAMP.sub(rb"\g<1>%d" % (start_ms + 1000 * count + number % 1000), template, count=1)


class Client(asyncio.Protocol):
    """One socket."""

    def __init__(self, request: bytes, *, deflate: bool) -> None:
        self.opened = asyncio.get_running_loop().create_future()
        """Whether it was taken; an exception if it was not."""
        self.ended = asyncio.get_running_loop().create_future()
        self.meant_at: list[float] = []
        """When each event was meant to be sent."""
        self.acked = 0
        self.latencies = array("d")
        self.problem = ""
        self._request = request
        self._deflate = deflate
        self._reader: FrameReader | None = None
        self._head = b""
        self._is_closing = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            status = head.partition(b"\r\n")[0].decode(errors="replace")
            if not status.startswith("HTTP/1.1 101 "):
                self._end(f"refused: {status}")
                return
            if self._deflate and b"permessage-deflate" not in head:
                self._end("the server would not have permessage-deflate")
                return
            self._reader = FrameReader()
            self.opened.set_result(None)
        for opcode, payload in self._reader.feed(data):
            self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.write(frame(payload, opcode=PONG))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self._end("" if self._is_closing and code == 1000 else f"closed by the server, {code}")
        elif opcode == TEXT:
            rows = _ROWS.search(payload)
            if rows is None or b'"ok":true' not in payload:
                self.problem = self.problem or payload.decode(errors="replace")[:200]
                return
            now, acked = time.monotonic(), int(rows[1])
            self.latencies.extend(now - meant for meant in self.meant_at[self.acked : acked])
            self.acked = acked

    def send(self, payload: bytes, meant_at: float) -> None:
        self.meant_at.append(meant_at)
        self.write(frame(payload, deflate=self._deflate))

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._is_closing = True
        self.write(frame((1000).to_bytes(2, "big"), opcode=CLOSE))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"connection lost: {error}")

    def _end(self, problem: str) -> None:
        if self.ended.done():
            return
        self.problem = self.problem or problem
        self.ended.set_result(None)
        if not self.opened.done():
            self.opened.set_result(None)
        if self._transport is not None:
            self._transport.close()


async def open_sockets(target: Daemon, run: str, count: int, *, deflate: bool) -> list[Client]:
    """Open ``count`` sockets, some at a time."""
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(_CONNECTING_MAX)
    is_local = target.host.startswith("127.")

    async def open_one(number: int) -> Client:
        path = f"/recordings/{recording_id(run, number)}/ingest/ws?ack=true&token={target.key}"
        request = handshake(f"{target.host}:{target.port}", path, deflate=deflate)
        client = Client(request, deflate=deflate)
        source = (f"127.0.0.{2 + number // ADDRESS_SOCKETS_MAX}", 0) if is_local else None
        async with places:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await loop.create_connection(lambda: client, target.host, target.port, local_addr=source)
                    await client.opened
            except (OSError, TimeoutError) as error:
                client.problem = f"not connected: {error!r}"
                client.ended.set_result(None)
        return client

    return list(await asyncio.gather(*map(open_one, range(count))))


async def send_on_schedule(
    clients: list[Client], templates: list[bytes], seconds: int, start_ms: int
) -> float:
    """Send each client an event a second; return the greatest delay, in seconds."""
    start = time.monotonic() + 0.5
    step = 1 / len(clients)
    late_s = 0.0
    for index in range(len(clients) * seconds):
        count, number = divmod(index, len(clients))
        meant_at = start + index * step
        wait = meant_at - time.monotonic()
        if wait > 0:
            # At least a millisecond: the loop's timers are no finer, and some events together cost less.
            await asyncio.sleep(max(wait, 0.001))
        elif index % 50 == 0:
            await asyncio.sleep(0)  # Late: acks must be read all the same.
        late_s = max(late_s, time.monotonic() - meant_at)
        clients[number].send(make_event(templates, number, count, start_ms), meant_at)
    await asyncio.sleep(max(0.0, start + seconds - time.monotonic()))
    return late_s


async def last_acks(clients: list[Client]) -> None:
    """Wait for acks of what is under way: closing would bring them early."""
    give_up_at = time.monotonic() + _LAST_ACKS_TIMEOUT_S
    while time.monotonic() < give_up_at and any(  # noqa: ASYNC110  # An event for each ack would cost more.
        len(client.meant_at) > client.acked for client in clients
    ):
        await asyncio.sleep(0.02)


async def _load(
    target: Daemon, args: argparse.Namespace, run: str, start_ms: int, parent: Connection
) -> None:
    templates = small_events()
    clients = await open_sockets(target, run, args.sockets, deflate=args.deflate)
    parent.send(sum(not client.problem for client in clients))
    await asyncio.to_thread(parent.recv)
    used_before = time.process_time()
    late_s = await send_on_schedule(clients, templates, args.seconds, start_ms)
    used = time.process_time() - used_before
    await last_acks(clients)
    parent.send(None)
    await asyncio.to_thread(parent.recv)
    for client in clients:
        client.close()
    await asyncio.wait([client.ended for client in clients], timeout=_GOODBYE_TIMEOUT_S)
    latencies: array[float] = array("d")
    for client in clients:
        latencies += client.latencies
        client.problem = client.problem or ("" if client.ended.done() else "no goodbye from the server")
    parent.send(
        Outcome(
            latencies,
            [len(client.meant_at) for client in clients],
            [client.acked for client in clients],
            [f"socket {number}: {client.problem}" for number, client in enumerate(clients) if client.problem],
            late_s,
            used,
        )
    )


def load(target: Daemon, args: argparse.Namespace, run: str, start_ms: int, parent: Connection) -> None:
    """Open, say how many, wait for the word, send, say so, wait for the word, close, tell the outcome."""
    raise_file_limit()
    uvloop.run(_load(target, args, run, start_ms, parent))


def raise_file_limit() -> None:
    """Use as many file handles as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
